"""Three files that are one model → an MLflow model folder: MLflow's own files, the data, the proof, and SHA256SUMS over all."""

from __future__ import annotations

import platform
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_wrappers import darknet
from model_wrappers.darknet.errors import ModelFolderError, ProofError
from model_wrappers.darknet.folder import ENGINES_NAME, INT8_NAME, MLMODEL, ONNX_NAME, load_model_folder
from model_wrappers.darknet.provenance import file_sha256
from model_wrappers.mlflow_darknet import environment
from model_wrappers.mlflow_darknet.layout import (
    CODE_FOLDER,
    DATA_FOLDER,
    FLAVOR_NAME,
    LOADER_MODULE,
    PROOF_FOLDER,
    SourceFiles,
    check_file_names,
)
from model_wrappers.mlflow_darknet.scoring import signature
from model_wrappers.model_sums import PYTHON_CACHE, SUMS_NAME, sums_of_folder

if TYPE_CHECKING:
    from mlflow.models import Model

    from model_wrappers.darknet.proof import Proof
    from model_wrappers.drift import Reference


def save_model(
    path: str | Path,
    *,
    cfg: str | Path,
    weights: str | Path,
    names: str | Path,
    mlflow_model: Model | None = None,
    input_example: Any = None,
    licence: str = "",
    photos: Sequence[str | Path] = (),
    proof: Proof | None = None,
    drift_photos: Sequence[str | Path] = (),
    drift_reference: Reference | None = None,
    metadata: Mapping[str, Any] | None = None,
    code_paths: Sequence[str | Path] | None = None,
    pip_requirements: Sequence[str] | None = None,
) -> None:
    """Prove that the three files are one model, compile them and write one MLflow model folder at ``path``.

    ``photos`` are shown with their boxes in the report; ``proof`` is one made before, of the same files. ``drift_photos``
    become the reference that ``DetectionDrift`` compares with, or ``drift_reference`` is one made before. ``code_paths`` are
    packages that come along for where they are not installed. ``path`` is there as a whole or not at all.

    Raises:
        ModelFolderError: ``path`` holds something, or two files would lie on top of one another.
        DarknetError: the library's errors, which name file, expected and found.
    """
    from mlflow.models import Model

    files = SourceFiles(Path(cfg), Path(weights), Path(names))
    _check_new(Path(path), files)
    check_extras(code_paths, pip_requirements)
    proof = proof or _prove(files, photos, licence)
    reference = drift_reference or build_drift_reference(files, drift_photos)
    with _new_folder(Path(path)) as folder:
        _write_data(folder, files, proof)
        if reference is not None:
            reference.write(folder)
        model = mlflow_model if mlflow_model is not None else Model()
        model.metadata = dict(metadata) if metadata else model.metadata
        _write_mlflow_files(folder, model, input_example, code_paths, pip_requirements)
        _add_flavors(model, files, proof, code=CODE_FOLDER if code_paths else None)
        model.model_size_bytes = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        model.save(str(folder / MLMODEL))
        load_model_folder(folder)  # metadata that our strict reader refuses would be found where it is served
        (folder / SUMS_NAME).write_text(sums_of_folder(folder))


def check_extras(code_paths: Sequence[str | Path] | None, pip_requirements: Sequence[str] | None) -> None:
    """Raise ``ModelFolderError`` or ``ValueError`` for code that is not there, or two of one name, and for no requirement."""
    environment.check_requirements(pip_requirements or ())
    taken: set[str] = set()
    for path in map(Path, code_paths or ()):
        name = path.resolve().name
        if not path.exists():
            raise ModelFolderError(str(path), "code_paths: no such file or folder")
        if name in taken:
            raise ModelFolderError(str(path), f"code_paths: there are two of the name {name}")
        taken.add(name)


def _check_new(path: Path, files: SourceFiles) -> None:
    check_file_names(files)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ModelFolderError(str(path), "exists already: a new folder is expected")


def _prove(files: SourceFiles, photos: Sequence[str | Path], licence: str) -> Proof:
    from model_wrappers.darknet.proof import prove

    return prove(*files, photos=[Path(photo) for photo in photos], licence=licence)


def build_drift_reference(files: SourceFiles, photos: Sequence[str | Path]) -> Reference | None:
    """What the model sees on ``photos``; None without any. Raises DriftReferenceError, PhotoError."""
    from model_wrappers.drift import build_reference

    if not photos:
        return None
    return build_reference(darknet.Detector(darknet.ModelFolder(*files)), [Path(photo) for photo in photos])


@contextmanager
def _new_folder(path: Path) -> Iterator[Path]:
    """A folder that becomes ``path`` once everything is in it, and is gone if something fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.parent / f".{path.name}.{uuid.uuid4().hex}"
    partial.mkdir()
    try:
        yield partial
        partial.replace(path)
    except BaseException:
        shutil.rmtree(partial)
        raise


def _write_data(folder: Path, files: SourceFiles, proof: Proof) -> None:
    """The copies are what is compared with the proof and compiled: the sources may change meanwhile."""
    from model_wrappers.darknet import proof_report
    from model_wrappers.darknet.engines.record import render_record

    data, copies = folder / DATA_FOLDER, files.in_folder(folder)
    data.mkdir()
    for source, copy in zip(files, copies, strict=True):
        shutil.copyfile(source, copy)
        proved, found = proof.digests.get(source.name, "nothing"), file_sha256(copy)
        if found != proved:
            raise ProofError(f"{source}: the proof is of {proved}, but the file is {found}: prove it again")
    (data / ONNX_NAME).write_bytes(darknet.compile_onnx(copies.cfg, copies.weights))
    if proof.int8 and proof.int8.is_accepted:
        (data / INT8_NAME).write_bytes(proof.int8.graph)
    (data / ENGINES_NAME).write_text(render_record(proof.record(files.cfg, files.weights)))
    proof_report.write_proof(proof, folder / PROOF_FOLDER)


def _write_mlflow_files(
    folder: Path,
    model: Model,
    input_example: Any,
    code_paths: Sequence[str | Path] | None,
    pip_requirements: Sequence[str] | None,
) -> None:
    """Signature, example, code and environment."""
    from mlflow.models.utils import _save_example  # MLflow offers no public name for it

    model.signature = signature()
    if input_example is not None:
        _save_example(model, input_example, str(folder))
    for path in code_paths or ():
        _copy_code(Path(path), folder / CODE_FOLDER)
    environment.write_environment(folder, pip_requirements)


def _copy_code(source: Path, code: Path) -> None:
    """A file or a package, without Python's caches: there is another one at the next import."""
    code.mkdir(exist_ok=True)
    target = code / source.resolve().name
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns(PYTHON_CACHE))
    else:
        shutil.copyfile(source, target)


def _add_flavors(model: Model, files: SourceFiles, proof: Proof, *, code: str | None) -> None:
    from model_wrappers.darknet.proof_report import REPORT_NAME

    model.add_flavor(
        "python_function",
        loader_module=LOADER_MODULE,
        data=DATA_FOLDER,
        python_version=platform.python_version(),
        env={"conda": environment.CONDA_NAME, "virtualenv": environment.PYTHON_ENV_NAME},
        **({"code": code} if code else {}),
    )
    model.add_flavor(
        FLAVOR_NAME,
        cfg=f"{DATA_FOLDER}/{files.cfg.name}",
        weights=f"{DATA_FOLDER}/{files.weights.name}",
        names=f"{DATA_FOLDER}/{files.names.name}",
        onnx=f"{DATA_FOLDER}/{ONNX_NAME}",
        engines=f"{DATA_FOLDER}/{ENGINES_NAME}",
        **({"int8": f"{DATA_FOLDER}/{INT8_NAME}"} if proof.int8 and proof.int8.is_accepted else {}),
        proof=f"{PROOF_FOLDER}/{REPORT_NAME}",
        input_width=proof.summary.width,
        input_height=proof.summary.height,
        classes=proof.summary.classes,
        licence=proof.licence,
        **({"code": code} if code else {}),
    )
