"""MLFLOW_SERVER on models logged here: arrays, frames, named outputs, and requirements that are not the image's."""

from __future__ import annotations

import importlib.metadata
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from slipway.servers.errors import ModelFolderError
from slipway.servers.mlflow_pyfunc import MlflowServer
from slipway.servers.model_requirements import check_requirements
from slipway.serving.v2_messages import InferRequest
from tests.servers.conftest import ServeModel, infer, ndarray, predict_grpc, refused, tensor

with warnings.catch_warnings():  # MLflow warns of itself when it is imported
    warnings.simplefilter("ignore")
    import mlflow
    import mlflow.pyfunc
    import mlflow.sklearn
    from mlflow.models import infer_signature

pytestmark = [
    pytest.mark.filterwarnings("ignore:(?s).*type hints:UserWarning"),  # MLflow, of the models of these tests
    pytest.mark.filterwarnings("ignore:.*An input example was not provided:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*Hint. Inferred schema contains integer column:UserWarning"),
]
ROWS = [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]]
NUMPY = importlib.metadata.version("numpy")
Saved = Callable[..., Path]


def python_model(call: Callable[[Any], Any]) -> Any:
    class Model(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):
            return call(model_input)

    return Model()


@pytest.fixture
def saved(tmp_path: Path) -> Saved:
    """``saved(call, example=…, answer=…)``: a model folder of a Python function, with a signature where one is given."""

    def save(call: Callable[[Any], Any], *, example: Any = None, answer: Any = None) -> Path:
        signature = None if example is None else infer_signature(example, answer)
        folder = tmp_path / "model"
        mlflow.pyfunc.save_model(
            str(folder), python_model=python_model(call), signature=signature, pip_requirements=[f"numpy=={NUMPY}"]
        )
        return folder

    return save


@pytest.fixture(scope="module")
def iris(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    frame = load_iris(as_frame=True).data
    model = LogisticRegression(max_iter=1000).fit(frame, load_iris().target)
    folder = tmp_path_factory.mktemp("iris") / "model"
    mlflow.sklearn.save_model(
        model,
        str(folder),
        signature=infer_signature(frame, model.predict(frame)),
        pip_requirements=[f"scikit-learn=={importlib.metadata.version('scikit-learn')}"],
        serialization_format="cloudpickle",
    )
    return folder, model


async def test_named_columns_answer_rows_in_any_form(serve_model: ServeModel, iris):
    folder, model = iris
    served = await serve_model(MlflowServer(f"file://{folder}"))
    names = list(model.feature_names_in_)
    for body in (ndarray(ROWS), ndarray(ROWS, names), ndarray([row[::-1] for row in ROWS], names[::-1])):
        status, answer = await served.post("/predict", body)
        assert (status, answer["data"]["ndarray"]) == (200, [0, 2]), answer
    assert list((await predict_grpc(served, ROWS)).data.tensor.values) == [0.0, 2.0]
    assert (await served.post("/predict", ndarray([[5, 3, 1, 0]])))[1]["data"]["ndarray"] == [0]
    answer = await infer(served, InferRequest((tensor("x", ROWS),)))
    assert [(one.name, one.array.tolist()) for one in answer.outputs] == [("predict", [0, 2])]
    columns = tuple(tensor(name, column) for name, column in zip(names, zip(*ROWS, strict=True), strict=True))
    assert (await infer(served, InferRequest(columns))).outputs[0].array.tolist() == [0, 2]
    _, answer = await served.post("/predict", {"jsonData": dict(zip(names, zip(*ROWS, strict=True), strict=True))})
    assert answer["data"]["tensor"] == {"values": [0, 2], "shape": [2]}


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (ndarray([[1, 2]]), "rows of 4 features are expected"),
        (ndarray([["a", "b", "c", "d"]]), "Incompatible input types"),
        ({"jsonData": {"petal": [1]}}, "missing inputs"),
        ({"jsonData": {"a": [1], "b": [1, 2]}}, "columns of one length"),
    ],
)
async def test_input_that_is_not_the_signatures_is_the_callers_mistake(serve_model: ServeModel, iris, body, text):
    status, reason, info = await refused(await serve_model(MlflowServer(str(iris[0]))), body)
    assert (status, reason) == (400, "INPUT_MISMATCH")
    assert text in info


async def test_columns_of_the_answer_are_its_names(serve_model: ServeModel, saved: Saved):
    folder = saved(lambda x: pd.DataFrame({"low": np.asarray(x)[:, 0], "high": np.asarray(x)[:, 1] * 2}))
    served = await serve_model(MlflowServer(str(folder)))
    _, answer = await served.post("/predict", ndarray([[1.0, 2.0]]))
    assert answer["data"] == {"ndarray": [[1.0, 4.0]], "names": ["low", "high"]}
    answer = await infer(served, InferRequest((tensor("x", [[1.0, 2.0]]),)))
    assert {one.name: one.array.tolist() for one in answer.outputs} == {"low": [1.0], "high": [4.0]}


@pytest.mark.parametrize(("xtype", "kind"), [(None, "ndarray"), ("ndarray", "ndarray"), ("DataFrame", "DataFrame")])
async def test_xtype_says_what_the_model_gets(serve_model: ServeModel, saved: Saved, xtype, kind):
    folder = saved(lambda x: [[type(x).__name__, ",".join(map(str, getattr(x, "columns", [])))]])
    served = await serve_model(MlflowServer(str(folder), xtype=xtype))
    _, answer = await served.post("/predict", ndarray([[1, 2]], ["a", "b"]))
    assert answer["data"]["ndarray"] == [[kind, "a,b" if kind == "DataFrame" else ""]]


async def test_named_answers_are_named_outputs_and_json_data(serve_model: ServeModel, saved: Saved):
    folder = saved(lambda x: {"n": np.array([len(x)]), "total": np.array([float(np.sum(x))])})
    served = await serve_model(MlflowServer(str(folder)))
    _, answer = await served.post("/predict", ndarray([[1, 2], [3, 4]]))
    assert answer["jsonData"] == {"n": [2], "total": [10.0]}
    answer = await infer(served, InferRequest((tensor("x", [[1, 2], [3, 4]]),)))
    assert {one.name: one.array.tolist() for one in answer.outputs} == {"n": [2], "total": [10.0]}


async def test_signature_of_tensors_gets_them_by_name(serve_model: ServeModel, saved: Saved):
    example = {"a": np.zeros((1, 2), "f4"), "b": np.zeros((1, 3), "f4")}
    folder = saved(lambda x: x["a"].sum(axis=1) + x["b"].sum(axis=1), example=example, answer=np.zeros(1, "f4"))
    served = await serve_model(MlflowServer(str(folder)))
    tensors = (tensor("b", [[1, 1, 1]], "f4"), tensor("a", [[2, 2]], "f4"))
    assert (await infer(served, InferRequest(tensors))).outputs[0].array.tolist() == [7.0]


async def test_texts_and_bytes_reach_the_model_as_they_are(serve_model: ServeModel, saved: Saved):
    served = await serve_model(MlflowServer(str(saved(lambda x: [f"{type(x).__name__} {len(x)}"]))))
    _, answer = await served.post("/predict", {"strData": "hello"})
    assert answer["data"]["ndarray"] == ["str 5"]
    _, answer = await served.post("/predict", {"binData": "AAEC"})
    assert answer["data"]["ndarray"] == ["bytes 3"]


@pytest.mark.parametrize(
    ("call", "text"), [(lambda _: 1 / 0, "division by zero"), (lambda _: None, "returned nothing")]
)
async def test_what_the_model_raises_is_500_with_its_words(serve_model: ServeModel, saved: Saved, call, text):
    status, reason, info = await refused(await serve_model(MlflowServer(str(saved(call)))), ndarray([[1]]))
    assert (status, reason) == (500, "MODEL_FAILED")
    assert text in info


def test_package_that_is_not_installed_stops_the_start_with_what_to_do(saved: Saved):
    folder = saved(lambda x: x)
    (folder / "requirements.txt").write_text("a-package-nobody-has==1.0\nnumpy\n")
    with pytest.raises(ModelFolderError, match="a-package-nobody-has==1.0 is not installed: build an image") as caught:
        MlflowServer(str(folder)).load()
    assert "numpy" not in str(caught.value).partition("build")[0].partition("asks for")[2]


def write(folder: Path, requirements: str, python: str = "") -> Path:
    (folder / "requirements.txt").write_text(requirements)
    if python:
        (folder / "python_env.yaml").write_text(f"python: {python}\n")
    return folder


@pytest.mark.parametrize(
    ("requirements", "compatible", "exact"),
    [
        (f"numpy=={NUMPY}  # the same\n\n# note\nmlflow=={mlflow.__version__}\n", 0, True),
        ("numpy==2.0.1\n", 1, False),
        ("numpy==1.26.4\n", None, False),
        ("numpy>=3\n", None, False),
        ("numpy>=1,<3\n", 0, True),
        ("never-there==1; python_version < '3'\n", 0, True),
        ("-r other.txt\n", 1, False),
        (f"numpy=={NUMPY} --hash=sha256:abc\n", 0, True),
    ],
)
def test_requirements_are_compared(tmp_path, requirements, compatible, exact):
    folder = write(tmp_path, requirements)
    if compatible is None:
        with pytest.raises(ModelFolderError, match=rf"is asked for, {NUMPY} is installed"):
            check_requirements(folder, policy="compatible")
    else:
        assert len(check_requirements(folder, policy="compatible")) == compatible
    if exact:
        assert check_requirements(folder, policy="exact") == []
    else:
        with pytest.raises(ModelFolderError):
            check_requirements(folder, policy="exact")
    check_requirements(folder, policy="any")


def test_another_python_is_refused(tmp_path):
    here = ".".join(map(str, sys.version_info[:2]))
    assert check_requirements(write(tmp_path, "", f"{here}.99"), policy="exact") == []
    with pytest.raises(ModelFolderError, match=rf"Python 3.8.1 is asked for, this is {here}"):
        check_requirements(write(tmp_path, "", "3.8.1"), policy="compatible")


def test_unknown_policy_names_the_three(tmp_path):
    with pytest.raises(ModelFolderError, match="'strict' is not one of compatible, exact, any"):
        check_requirements(tmp_path, policy="strict")
