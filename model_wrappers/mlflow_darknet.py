"""The MLflow flavour ``darknet``: a cfg, its weights and its names as one versioned model.

The layout follows MLflow's flavour convention (``save_model``, ``log_model``, ``load_model``, ``_load_pyfunc``). Beside
MLflow's own files the folder holds ``SHA256SUMS``, in the format of coreutils' sha256sum, over every other file, among
them the proof: ``proof/report.html`` with its pictures, and ``data/engines.json``, by which ``engine: auto`` chooses.
"""

from __future__ import annotations

import base64
import platform
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_wrappers import darknet, photo
from model_wrappers.darknet.folder import ENGINES_NAME, ONNX_NAME
from model_wrappers.model_identity import SUMS_NAME, digest_of_sums, sums_of_folder

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.models.model import ModelInfo

    from model_wrappers.darknet.proof import Proof

FLAVOR_NAME = "darknet"
DIGEST_TAG = "slipway.digest"
DATA_FOLDER = "data"
PROOF_FOLDER = "proof"


def get_default_pip_requirements() -> list[str]:
    """What a process needs to run the pyfunc form."""
    from importlib.metadata import version

    return [f"{name}=={version(name)}" for name in ("numpy", "onnxruntime", "opencv-python-headless")]


def save_model(
    path: str | Path,
    *,
    cfg: Path,
    weights: Path,
    names: Path,
    mlflow_model: Any = None,
    input_example: Any = None,
    licence: str = "",
    photos: Sequence[Path] = (),
    proof: Proof | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Prove that the three files are one model, compile them and write one MLflow model folder at ``path``.

    ``photos`` are shown with their boxes in the report; ``proof`` is one made before, of the same files.
    Raises the library's errors, which name file, expected and found, before anything is written.
    """
    from mlflow.models import Model
    from mlflow.models.utils import _save_example
    from mlflow.utils.environment import _mlflow_conda_env, _PythonEnv

    from model_wrappers.darknet import proof_report
    from model_wrappers.darknet.engines.record import render_record
    from model_wrappers.darknet.proof import prove

    proof = proof or prove(cfg, weights, names, photos=photos, licence=licence)
    _check_digests(proof, (cfg, weights, names))
    graph = darknet.compile_onnx(cfg, weights)
    folder = Path(path)
    data = folder / DATA_FOLDER
    data.mkdir(parents=True)
    for source in (cfg, weights, names):
        shutil.copyfile(source, data / source.name)
    (data / ONNX_NAME).write_bytes(graph)
    (data / ENGINES_NAME).write_text(render_record(proof.record(cfg, weights)))
    proof_report.write_proof(proof, folder / PROOF_FOLDER)

    model = mlflow_model if mlflow_model is not None else Model()
    model.signature = signature()
    if metadata:
        model.metadata = dict(metadata)
    if input_example is not None:
        _save_example(model, input_example, str(folder))
    model.add_flavor(
        "python_function",
        loader_module=__name__,
        data=DATA_FOLDER,
        python_version=platform.python_version(),
        env={"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
    )
    model.add_flavor(
        FLAVOR_NAME,
        cfg=f"{DATA_FOLDER}/{cfg.name}",
        weights=f"{DATA_FOLDER}/{weights.name}",
        names=f"{DATA_FOLDER}/{names.name}",
        onnx=f"{DATA_FOLDER}/{ONNX_NAME}",
        engines=f"{DATA_FOLDER}/{ENGINES_NAME}",
        proof=f"{PROOF_FOLDER}/{proof_report.REPORT_NAME}",
        input_width=proof.summary.width,
        input_height=proof.summary.height,
        classes=proof.summary.classes,
        licence=licence,
    )
    model.save(str(folder / "MLmodel"))
    _write_environment(folder, _mlflow_conda_env, _PythonEnv)
    (folder / SUMS_NAME).write_text(sums_of_folder(folder))


def _check_digests(proof: Proof, files: Sequence[Path]) -> None:
    from model_wrappers.darknet.errors import ProofError
    from model_wrappers.darknet.provenance import file_sha256

    for file in files:
        proved, found = proof.digests.get(file.name, "nothing"), file_sha256(file)
        if found != proved:
            raise ProofError(f"{file}: the proof is of {proved}, but the file is {found}: prove it again")


def _write_environment(folder: Path, conda_env: Any, python_env: Any) -> None:
    requirements = get_default_pip_requirements()
    conda_env(path=str(folder / "conda.yaml"), additional_pip_deps=requirements, install_mlflow=True)
    (folder / "requirements.txt").write_text("".join(f"{line}\n" for line in ["mlflow", *requirements]))
    python_env.current().to_yaml(str(folder / "python_env.yaml"))


def signature() -> Any:
    """One photo a row in; its detections, as in the served reply, out."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import Array, Object, Property

    box = Object([Property(side, DataType.double) for side in ("x_min", "y_min", "x_max", "y_max")])
    detection = Object(
        [
            Property("label", DataType.string),
            Property("class_id", DataType.long),
            Property("confidence", DataType.double),
            Property("box", box),
        ]
    )
    return ModelSignature(
        inputs=Schema([ColSpec(DataType.binary, "image")]),
        outputs=Schema([ColSpec(Array(detection), "detections")]),
    )


def log_model(
    *,
    cfg: Path,
    weights: Path,
    names: Path,
    name: str = "model",
    registered_model_name: str | None = None,
    input_example: Any = None,
    licence: str = "",
    photos: Sequence[Path] = (),
    tags: Mapping[str, str] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> ModelInfo:
    """Log the model to the current MLflow run (or to none) and, with a registered name, register a version.

    The version is tagged with its digest, each file's SHA-256 and what the proof says before this returns. A model that
    fails its proof raises the library's errors and leaves nothing in MLflow.
    """
    import sys

    from mlflow.models import Model

    from model_wrappers.darknet.proof import prove

    cfg, weights, names = Path(cfg), Path(weights), Path(names)
    proof = prove(cfg, weights, names, photos=photos, licence=licence)
    info: ModelInfo = Model.log(
        artifact_path=None,
        name=name,
        flavor=sys.modules[__name__],
        registered_model_name=registered_model_name,
        cfg=cfg,
        weights=weights,
        names=names,
        input_example=input_example,
        licence=licence,
        proof=proof,
        metadata=dict(metadata) if metadata else None,
    )
    if registered_model_name and info.registered_model_version is not None:
        found = {**(tags or {}), **proof_tags(proof), "licence": licence}
        tag_version(registered_model_name, str(info.registered_model_version), found)
    return info


def proof_tags(proof: Proof) -> dict[str, str]:
    """What ``slipway model show`` prints of a proof."""
    from model_wrappers.darknet.proof_report import REPORT_NAME
    from model_wrappers.darknet.timing import TOLERANCE

    worst = proof.worst.difference
    timings = sorted((one for one in proof.timings if one.is_usable), key=lambda one: one.milliseconds)
    return {
        "proof.parity": f"{len(proof.layers)} layers, worst {worst:.1e} of {TOLERANCE:g} allowed, on {proof.compared_on}",
        "proof.engine": proof.engine,
        "proof.engines": ", ".join(f"{one.engine} {one.milliseconds:.1f} ms" for one in timings),
        "proof.machine": f"{proof.machine}, {proof.threads} threads",
        "proof.report": f"{PROOF_FOLDER}/{REPORT_NAME}",
    }


def tag_version(name: str, version: str, tags: Mapping[str, str]) -> str:
    """Read a version's SHA256SUMS back from the artifact store and store its digest, and ``tags``, as version tags.

    Returns the digest, ``sha256:<hex>``.
    """
    import tempfile

    import mlflow

    client = mlflow.MlflowClient()
    source = client.get_model_version_download_uri(name, version)
    with tempfile.TemporaryDirectory() as folder:
        path = mlflow.artifacts.download_artifacts(f"{source.rstrip('/')}/{SUMS_NAME}", dst_path=folder)
        sums = Path(path).read_bytes()
    digest = digest_of_sums(sums)
    files = {path: digest for digest, _, path in (line.partition("  ") for line in sums.decode().splitlines())}
    stored = {f"sha256.{Path(file).name}": value for file, value in files.items() if file.startswith(f"{DATA_FOLDER}/")}
    for key, value in {**stored, **tags, DIGEST_TAG: digest}.items():  # the digest last: it says the rest is there
        if value:
            client.set_model_version_tag(name, version, key, value)
    return digest


def load_model(model_uri: str) -> darknet.Detector:
    """The detector of a ``models:/``, ``runs:/`` or local model."""
    import mlflow

    return darknet.Detector(Path(mlflow.artifacts.download_artifacts(model_uri)))


def _load_pyfunc(path: str) -> PhotoModel:
    return PhotoModel(darknet.Detector(Path(path).parent))


class PhotoModel:
    """What ``mlflow models serve`` and ``predict`` call: a table of photos → a table of detections."""

    def __init__(self, detector: darknet.Detector) -> None:
        self.detector = detector

    def predict(self, model_input: pd.DataFrame, params: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """``model_input``: column ``image``, an encoded photo a row as bytes or base64 text."""
        import pandas as pd

        return pd.DataFrame({"detections": [self._detections(value) for value in model_input["image"]]})

    def _detections(self, value: bytes | str) -> list[dict[str, Any]]:
        encoded = base64.b64decode(value, validate=True) if isinstance(value, str) else bytes(value)
        return [detection.to_json() for detection in self.detector.detect(photo.decode(encoded))]
