"""A Darknet model as an MLflow model: saved whole or not at all, and read again as a detector and as a pyfunc."""

from __future__ import annotations

import base64
import dataclasses
import functools
import importlib
import os
import subprocess
import sys
import warnings
from pathlib import Path
from types import ModuleType

import mlflow
import pandas as pd
import pytest
import yaml
from mlflow.exceptions import MlflowException
from mlflow.utils.environment import _mlflow_conda_env, _PythonEnv

import model_wrappers
from model_wrappers import darknet, mlflow_darknet
from model_wrappers.darknet.errors import DarknetError, ModelFolderError
from model_wrappers.darknet.proof import Proof
from model_wrappers.mlflow_darknet import SourceFiles, loading, saving
from model_wrappers.model_identity import folder_digest
from model_wrappers.model_sums import DOWNLOAD_NOTE, SumsError, sums_of_folder
from tests.model_wrappers.conftest import files_of, red_photo


@pytest.fixture(scope="module")
def saved(sources: Path, proof: Proof, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "deeper" / "model"
    example = pd.DataFrame({"image": [(sources / "red.png").read_bytes()]})
    with warnings.catch_warnings():  # MLflow compares an index with a range, which pandas 4 will take otherwise
        warnings.filterwarnings("ignore", "Operation with range is deprecated", category=DeprecationWarning)
        mlflow_darknet.save_model(
            path, **files_of(sources), proof=proof, input_example=example, metadata={"data set": "cells"}
        )
    return path


@pytest.fixture(scope="module")
def pyfunc() -> ModuleType:
    """MLflow's module; its first import warns of a type hint of its own."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*Any type hint is inferred as AnyType", category=UserWarning)
        module: ModuleType = importlib.import_module("mlflow.pyfunc")
    return module


@pytest.fixture
def copied(saved: Path, tmp_path: Path) -> Path:
    """A saved model that a test may damage."""
    copy = tmp_path / "model"
    subprocess.run(["cp", "-r", str(saved), str(copy)], check=True)
    return copy


def test_public_names_are_those_that_are_there() -> None:
    names = {name for name, value in vars(mlflow_darknet).items() if not isinstance(value, ModuleType)}
    public = {name for name in names if not name.startswith("_")} | {"_load_pyfunc"}
    assert set(mlflow_darknet.__all__) == public
    assert mlflow_darknet.FLAVOR_NAME == "darknet"


def test_saved_folder_is_whole_and_nothing_lies_beside_it(saved: Path) -> None:
    assert [path.name for path in saved.parent.iterdir()] == ["model"]
    assert (saved / "SHA256SUMS").read_text() == sums_of_folder(saved)
    assert sorted(path.name for path in (saved / "data").iterdir()) == [
        "cells.cfg",
        "cells.names",
        "cells.weights",
        "engines.json",
        "model.onnx",
    ]
    document = yaml.safe_load((saved / "MLmodel").read_text())
    assert document["metadata"] == {"data set": "cells"}
    assert document["flavors"]["python_function"]["loader_module"] == "model_wrappers.mlflow_darknet"
    assert document["model_size_bytes"] > (saved / "data" / "cells.weights").stat().st_size


def test_load_model_answers_as_the_detector_of_the_files(saved: Path, sources: Path, tmp_path: Path) -> None:
    wanted = darknet.Detector(sources).detect(red_photo())
    assert [one.label for one in wanted] == ["red"]
    assert mlflow_darknet.load_model(saved).detect(red_photo()) == wanted
    kept = tmp_path / "kept"
    assert mlflow_darknet.load_model(str(saved), dst_path=kept).detect(red_photo()) == wanted
    assert folder_digest(next(path.parent for path in kept.rglob("MLmodel"))) == folder_digest(saved)


def test_load_model_refuses_a_changed_and_an_unlisted_file(copied: Path) -> None:
    (copied / "data" / "late.py").write_text("import os")
    with pytest.raises(SumsError, match=r"data/late\.py: is there but is not listed"):
        mlflow_darknet.load_model(copied)
    (copied / "data" / "cells.names").write_text("green\nred\n")
    with pytest.raises(SumsError, match=r"data/cells\.names: expected sha256:"):
        mlflow_darknet.load_model(copied)


def test_pyfunc_refuses_a_changed_file(copied: Path, pyfunc: ModuleType) -> None:
    (copied / "data" / "cells.names").write_text("green\nred\n")
    with pytest.raises(SumsError, match=r"data/cells\.names: expected sha256:"):
        pyfunc.load_model(str(copied))


def test_pyfunc_equals_native_for_bytes_and_base64(saved: Path, sources: Path, pyfunc: ModuleType) -> None:
    wanted = [one.to_json() for one in darknet.Detector(sources).detect(red_photo())]
    encoded = (sources / "red.png").read_bytes()
    model = pyfunc.load_model(str(saved))
    answer = model.predict(pd.DataFrame({"image": [encoded, encoded]}))
    assert list(answer["detections"]) == [wanted, wanted]
    text = base64.b64encode(encoded).decode()
    assert list(
        mlflow_darknet._load_pyfunc(str(saved / "data")).predict(pd.DataFrame({"image": [text]}))["detections"]
    ) == [wanted]
    assert model.metadata.signature == mlflow_darknet.signature()


def test_thresholds_are_parameters_of_a_call(saved: Path, sources: Path, pyfunc: ModuleType) -> None:
    model = pyfunc.load_model(str(saved))
    table = pd.DataFrame({"image": [(sources / "red.png").read_bytes()]})
    counts = [
        len(model.predict(table, params={"confidence": each, "iou": 1.0})["detections"][0]) for each in (0.0, 1.0)
    ]
    assert counts == [8, 0]  # four cells of two classes
    with pytest.raises(MlflowException, match=r"params\.iou=1\.5: a number from 0 to 1 is expected") as refused:
        model.predict(table, params={"iou": 1.5})
    assert refused.value.get_http_status_code() == 400


@pytest.mark.parametrize(
    ("value", "said"), [(b"hello", "The 5 bytes are no JPEG"), ("not base64!", "is not base64"), ("", "The 0 bytes")]
)
def test_row_that_is_no_photo_is_named(saved: Path, sources: Path, value: bytes | str, said: str) -> None:
    good: bytes | str = (sources / "red.png").read_bytes()
    good = base64.b64encode(good).decode() if isinstance(value, str) and isinstance(good, bytes) else good
    model = mlflow_darknet._load_pyfunc(str(saved / "data"))
    with pytest.raises(MlflowException, match=f"^image, row 1: .*{said}") as refused:
        model.predict(pd.DataFrame({"image": [good, value]}))
    assert refused.value.get_http_status_code() == 400


def test_input_example_is_kept_with_its_digest(saved: Path, sources: Path) -> None:
    model = mlflow.models.Model.load(str(saved))
    assert "input_example.json" in (saved / "SHA256SUMS").read_text()
    example = model.load_input_example(str(saved))
    assert list(example["image"]) == [(sources / "red.png").read_bytes()]


def test_environment_pins_what_this_process_runs(saved: Path) -> None:
    wanted = [f"mlflow=={mlflow.__version__}", *mlflow_darknet.get_default_pip_requirements()]
    assert sorted((saved / "requirements.txt").read_text().split()) == sorted(wanted)
    for environment in (
        yaml.safe_load((saved / "conda.yaml").read_text()),
        mlflow_darknet.get_default_conda_env(),
    ):
        assert sorted(environment["dependencies"][-1]["pip"]) == sorted(wanted)
    python_env = yaml.safe_load((saved / "python_env.yaml").read_text())
    assert python_env == _PythonEnv.current().to_dict()
    assert mlflow_darknet.get_default_conda_env() == _mlflow_conda_env(
        additional_pip_deps=mlflow_darknet.get_default_pip_requirements()
    )


def test_mlflow_reads_the_environment(saved: Path, pyfunc: ModuleType) -> None:
    for form, name in (("pip", "requirements.txt"), ("conda", "conda.yaml")):
        assert Path(pyfunc.get_model_dependencies(str(saved), format=form)).name == name


def test_pip_requirements_stand_in_for_the_default_ones(sources: Path, proof: Proof, tmp_path: Path) -> None:
    mlflow_darknet.save_model(tmp_path / "m", **files_of(sources), proof=proof, pip_requirements=["numpy>1"])
    assert (tmp_path / "m" / "requirements.txt").read_text() == f"mlflow=={mlflow.__version__}\nnumpy>1\n"


CLEAN = """
import sys, mlflow
model = mlflow.pyfunc.load_model(sys.argv[1])
import model_wrappers, pandas
print(model_wrappers.__file__)
print(model.predict(pandas.DataFrame({"image": [open(sys.argv[2], "rb").read()]}))["detections"][0][0]["label"])
"""


def test_code_paths_come_along_and_are_what_a_clean_process_imports(
    sources: Path, proof: Proof, tmp_path: Path
) -> None:
    model, package = tmp_path / "model", Path(model_wrappers.__file__).parent
    mlflow_darknet.save_model(model, **files_of(sources), proof=proof, code_paths=[package])
    assert not list(model.rglob("__pycache__"))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CLEAN, str(model), str(sources / "red.png")],
        cwd=tmp_path,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    where, label = done.stdout.split()
    assert Path(where) == model / "code" / "model_wrappers" / "__init__.py"
    assert label == "red"
    assert list(model.rglob("__pycache__"))  # of that import; no file of the model
    mlflow_darknet.load_model(model)


def test_path_that_holds_something_is_refused_and_left_alone(sources: Path, proof: Proof, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    for path in (tmp_path, tmp_path / "mine"):
        with pytest.raises(ModelFolderError, match="exists already: a new folder is expected"):
            mlflow_darknet.save_model(path, **files_of(sources), proof=proof)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_paths_may_be_texts_and_an_empty_folder_is_filled(sources: Path, tmp_path: Path) -> None:
    files = {kind: str(path) for kind, path in files_of(sources).items()}
    mlflow_darknet.save_model(str(tmp_path), **files, photos=[str(sources / "red.png")], licence="MIT")
    mlflow_darknet.load_model(tmp_path)
    assert (tmp_path / "proof" / "photo-1.jpg").is_file()
    assert yaml.safe_load((tmp_path / "MLmodel").read_text())["flavors"]["darknet"]["licence"] == "MIT"


def test_failure_leaves_nothing(sources: Path, proof: Proof, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(folder: Path) -> str:
        assert (folder / "data" / "model.onnx").is_file()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(saving, "sums_of_folder", fail)
    with pytest.raises(OSError, match="No space left"):
        mlflow_darknet.save_model(tmp_path / "model", **files_of(sources), proof=proof)
    assert list(tmp_path.iterdir()) == []


def test_file_that_changed_since_its_proof_leaves_nothing(sources: Path, proof: Proof, tmp_path: Path) -> None:
    other = {**files_of(sources), "names": tmp_path / "cells.names"}
    other["names"].write_text("blue\nyellow\n")
    with pytest.raises(darknet.DarknetError, match=r"cells\.names: the proof is of [0-9a-f]{64}, but the file is"):
        mlflow_darknet.save_model(tmp_path / "model", **other, proof=proof)
    assert [path.name for path in tmp_path.iterdir()] == ["cells.names"]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("a/x", "b/x", "x.names"), r"b/x: would be data/x of the model, as a/x would: rename one"),
        (("a/x", "b/X", "x.names"), r"b/X: would be data/X of the model, as a/x would"),
        (("a/x", "a/x", "x.names"), r"a/x: would be data/x of the model"),
        (("x.cfg", "x.weights", "model.onnx"), r"model\.onnx: data/model\.onnx of a model is the compiled graph"),
        (("x.cfg", "Engines.json", "x.names"), r"data/engines\.json of a model is the record of engines"),
        (("model.int8.onnx", "x.weights", "x.names"), "is the graph in 8 bits"),
        (("SHA256SUMS", "x.weights", "x.names"), "is the list of digests"),
        ((".cfg", "x.weights", "x.names"), "hidden"),
        (("x\n.cfg", "x.weights", "x.names"), "unprintable"),
    ],
)
def test_names_that_would_overwrite_or_hide_a_file_are_refused_first(
    tmp_path: Path, names: tuple[str, str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg, weights, classes = (Path(name) for name in names)
    with pytest.raises(ModelFolderError, match=said):
        mlflow_darknet.check_file_names(SourceFiles(cfg, weights, classes))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")  # nobody is asked
    for refuse in (
        lambda: mlflow_darknet.save_model(tmp_path / "model", cfg=cfg, weights=weights, names=classes),
        lambda: mlflow_darknet.log_model(cfg=cfg, weights=weights, names=classes),
    ):
        with pytest.raises(ModelFolderError, match=said):
            refuse()
    assert list(tmp_path.iterdir()) == []


def test_folder_given_as_labelled_photos_is_refused_with_what_reads_it(sources: Path) -> None:
    with pytest.raises(DarknetError, match=r"labelled='VOC2007': photos are expected: load_voc\(folder"):
        mlflow_darknet.log_model(**files_of(sources), labelled="VOC2007")  # type: ignore[arg-type]


def test_proof_tags_name_the_chosen_engine(proof: Proof) -> None:
    tags = mlflow_darknet.proof_tags(dataclasses.replace(proof, machine="a CPU", threads=3))
    assert tags["proof.engine"] == "onnxruntime"
    assert tags["proof.machine"] == "a CPU, 3 threads"
    assert tags["proof.parity"].startswith("2 layers, worst ")
    assert tags["proof.report"] == "proof/report.html"


@pytest.mark.parametrize(
    ("note", "registered"),
    [
        ("model_name: yolo\nmodel_version: 2026-01-01\n", ("yolo", "2026-01-01")),
        ("model_name: yolo\nmodel_version: '3'\n", ("yolo", "3")),
        ("model_name: null\nmodel_version: null\n", None),
        (None, None),
    ],
)
def test_note_of_a_download_says_which_version_it_is(
    note: str | None, registered: tuple[str, str] | None, tmp_path: Path
) -> None:
    path = tmp_path / DOWNLOAD_NOTE
    if note is not None:
        path.write_text(note)
    assert loading.read_note(path) == registered


@pytest.mark.parametrize(
    ("note", "message"),
    [
        ("[1]\n", "is none of MLflow's"),
        ("model_name: {a: b}\nmodel_version: 1\n", "is none of MLflow's"),
        ("model_name: yolo\n", "is none of MLflow's"),
        ("#" * (loading.MAX_NOTE_BYTES + 1), "is none of MLflow's"),
        ("[" * 99, "is not YAML that can be used: nested deeper than 8"),
        ("model_name: *a\n", "is not YAML that can be used: an alias"),
    ],
)
def test_note_of_a_download_that_says_something_else_is_refused(note: str, message: str, tmp_path: Path) -> None:
    (tmp_path / DOWNLOAD_NOTE).write_text(note)
    with pytest.raises(SumsError, match=rf"{DOWNLOAD_NOTE}: {message}"):
        loading.read_note(tmp_path / DOWNLOAD_NOTE)


def test_metadata_that_could_not_be_read_back_is_refused_when_it_is_saved(
    sources: Path, proof: Proof, tmp_path: Path
) -> None:
    twice = ["a"]
    with pytest.raises(ModelFolderError, match="an alias is not possible"):
        mlflow_darknet.save_model(tmp_path / "m", **files_of(sources), proof=proof, metadata={"a": twice, "b": twice})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [10**12, None, 1.5, ["a"]], ids=repr)
def test_row_that_is_neither_bytes_nor_text_is_refused(sources: Path, value: object) -> None:
    model = mlflow_darknet.PhotoModel(darknet.Detector(sources, engine="onnxruntime"))
    with pytest.raises(MlflowException, match="image, row 0: bytes or base64 text is expected, found"):
        model.predict(pd.DataFrame({"image": pd.Series([value], dtype=object)}))


def test_requirements_name_mlflow_once(sources: Path, proof: Proof, tmp_path: Path) -> None:
    mlflow_darknet.save_model(
        tmp_path / "m", **files_of(sources), proof=proof, pip_requirements=["MLflow-skinny[x]>2 ; python_version>'3'"]
    )
    assert (tmp_path / "m" / "requirements.txt").read_text() == "MLflow-skinny[x]>2 ; python_version>'3'\n"


def test_what_is_no_requirement_and_two_codes_of_one_name_are_refused(
    sources: Path, proof: Proof, tmp_path: Path
) -> None:
    for folder in ("a", "b"):
        (tmp_path / "code" / folder).mkdir(parents=True)
        (tmp_path / "code" / folder / "one.py").touch()
    both = [tmp_path / "code" / folder / "one.py" for folder in ("a", "b")]
    save = functools.partial(mlflow_darknet.save_model, tmp_path / "m", **files_of(sources), proof=proof)
    with pytest.raises(ValueError, match="pip_requirements: '-r mine.txt' is no requirement"):
        save(pip_requirements=["-r mine.txt"])
    with pytest.raises(ModelFolderError, match=r"one\.py: code_paths: there are two of the name one\.py"):
        save(code_paths=both)
    with pytest.raises(ModelFolderError, match="gone: code_paths: no such file or folder"):
        save(code_paths=[tmp_path / "gone"])
    assert [path.name for path in tmp_path.iterdir()] == ["code"]
