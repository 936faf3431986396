"""SKLEARN_SERVER on a model trained here: both protocols with their own defaults, errors that are the model's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import joblib
import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.datasets import load_iris
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.svm import LinearSVC

from slipway.servers.errors import ModelFolderError
from slipway.servers.sklearn import SklearnServer
from slipway.serving.v2_messages import InferRequest, RequestedOutput
from tests.servers.conftest import (
    PROVENANCE,
    ServeModel,
    infer,
    ndarray,
    predict_grpc,
    refused,
    tensor,
    with_provenance,
)

ROWS = [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]]


class Failing:
    """An estimator that raises, or returns nothing."""

    def __init__(self, error: str) -> None:
        self.error = error

    def predict_proba(self, X: Any) -> Any:
        if self.error:
            raise ValueError(self.error)


@pytest.fixture(scope="module")
def model() -> LogisticRegression:
    rows, classes = load_iris(return_X_y=True)
    return LogisticRegression(max_iter=1000).fit(rows, classes)


@pytest.fixture
def folder(tmp_path: Path, model: LogisticRegression) -> Path:
    return saved(model, tmp_path)


def saved(model: Any, folder: Path, name: str = "model.joblib") -> Path:
    joblib.dump(model, folder / name)
    return folder


async def test_seldon_protocol_answers_predict_proba_over_both_wires(serve_model: ServeModel, folder, model):
    served = await serve_model(SklearnServer(f"file://{folder}"))
    status, answer = await served.post("/predict", ndarray(ROWS))
    assert status == 200
    expected = model.predict_proba(ROWS)
    np.testing.assert_array_equal(answer["data"]["ndarray"], expected)
    assert answer["data"]["names"] == ["t:0", "t:1", "t:2"]
    reply = await predict_grpc(served, ROWS)
    np.testing.assert_array_equal(np.reshape(reply.data.tensor.values, (2, 3)), expected)


async def test_v2_answers_predict_and_what_outputs_ask_for(serve_model: ServeModel, folder, model):
    served = await serve_model(SklearnServer(str(folder)))
    answer = await infer(served, InferRequest((tensor("x", ROWS),)))
    assert [(one.name, one.array.tolist()) for one in answer.outputs] == [("predict", [0, 2])]
    asked = (RequestedOutput("predict_proba"), RequestedOutput("decision_function"))
    answer = await infer(served, InferRequest((tensor("x", ROWS),), outputs=asked))
    assert [one.name for one in answer.outputs] == ["predict_proba", "decision_function"]
    np.testing.assert_array_equal(answer.outputs[0].array, model.predict_proba(ROWS))
    with pytest.raises(grpc.aio.AioRpcError, match="output 'loss' is not one of") as wrong:
        await infer(served, InferRequest((tensor("x", ROWS),), outputs=(RequestedOutput("loss"),)))
    assert wrong.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_v2_takes_a_tensor_for_each_column(serve_model: ServeModel, folder, model):
    served = await serve_model(SklearnServer(str(folder)))
    columns = tuple(tensor(f"c{index}", column) for index, column in enumerate(zip(*ROWS, strict=True)))
    assert (await infer(served, InferRequest(columns))).outputs[0].array.tolist() == [0, 2]


@pytest.mark.parametrize("method", ["predict", "decision_function", "predict_proba"])
async def test_parameter_method_holds_for_both_protocols(serve_model: ServeModel, folder, model, method):
    served = await serve_model(SklearnServer(str(folder), method=method))
    expected = getattr(model, method)(ROWS)
    _, answer = await served.post("/predict", ndarray(ROWS))
    np.testing.assert_array_equal(answer["data"]["ndarray"], expected)
    (output,) = (await infer(served, InferRequest((tensor("x", ROWS),)))).outputs
    assert output.name == method
    np.testing.assert_array_equal(output.array, expected)


@pytest.mark.parametrize("name", ["model.pickle", "model.pkl"])
async def test_the_other_file_names_are_read_too(tmp_path, model, name):
    server = SklearnServer(str(saved(model, tmp_path, name)))
    server.load()
    assert server.predict(np.array(ROWS), []).shape == (2, 3)


def test_skops_file_is_read_and_code_in_it_is_not_trusted(tmp_path, model):
    skops.io.dump(model, tmp_path / "model.skops")
    server = SklearnServer(str(tmp_path))
    server.load()
    np.testing.assert_array_equal(server.predict(np.array(ROWS), []), model.predict_proba(ROWS))
    skops.io.dump(Failing(""), tmp_path / "model.skops")
    with pytest.raises(ModelFolderError, match=r"model.skops: does not load: UntrustedTypesFoundException"):
        SklearnServer(str(tmp_path)).load()


def test_output_that_is_asked_for_often_is_computed_once(tmp_path, model, monkeypatch: pytest.MonkeyPatch):
    server = SklearnServer(str(saved(model, tmp_path)))
    server.load()
    calls: list[str] = []
    monkeypatch.setattr(server, "_call", lambda method, *_: calls.append(method) or np.zeros(1))
    asked = ["predict", "predict_proba"] * 500
    assert list(server.predict_named({"x": np.array(ROWS)}, [], asked, {})) == ["predict", "predict_proba"]
    assert calls == ["predict", "predict_proba"]


async def test_model_of_named_columns_gets_them_by_name(serve_model: ServeModel, tmp_path):
    frame = pd.DataFrame({"a": [0.0, 1, 2, 3], "b": [9.0, 7, 8, 6]})
    fitted = LinearRegression().fit(frame, [0, 1, 2, 3])
    served = await serve_model(SklearnServer(str(saved(fitted, tmp_path)), method="predict"))
    expected = fitted.predict(pd.DataFrame({"a": [1.0], "b": [5.0]}))
    for rows, names in (([[1, 5]], None), ([[5, 1]], ["b", "a"]), ([[1, 5]], ["left", "right"])):
        _, answer = await served.post("/predict", ndarray(rows, names))
        np.testing.assert_allclose(answer["data"]["ndarray"], expected)


async def test_what_the_model_raises_is_500_with_its_words(serve_model: ServeModel, tmp_path):
    served = await serve_model(SklearnServer(str(saved(Failing("singular matrix"), tmp_path))))
    assert await refused(served, ndarray(ROWS)) == (
        500,
        "MODEL_FAILED",
        "the model raised ValueError: singular matrix",
    )
    with pytest.raises(grpc.aio.AioRpcError, match="singular matrix") as wrong:
        await predict_grpc(served, ROWS)
    assert wrong.value.code() is grpc.StatusCode.INTERNAL


async def test_model_that_returns_nothing_is_500(serve_model: ServeModel, tmp_path):
    served = await serve_model(SklearnServer(str(saved(Failing(""), tmp_path))))
    assert (await refused(served, ndarray(ROWS)))[:2] == (500, "MODEL_FAILED")


async def test_method_that_the_model_lacks_names_those_it_has(serve_model: ServeModel, tmp_path):
    rows, classes = load_iris(return_X_y=True)
    folder = saved(LinearSVC().fit(rows, classes), tmp_path)
    with pytest.raises(ModelFolderError, match="LinearSVC has no predict_proba: .* predict or decision_function"):
        SklearnServer(str(folder), method="predict_proba").load()
    served = await serve_model(SklearnServer(str(folder)))
    status, reason, info = await refused(served, ndarray(ROWS))
    assert (status, reason) == (500, "MODEL_HAS_NO_METHOD")
    assert "set the parameter method to predict or decision_function" in info
    assert (await infer(served, InferRequest((tensor("x", ROWS),)))).outputs[0].array.tolist() == [0, 2]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (ndarray([[1, 2, 3]]), "rows of 4 features are expected (shape [n, 4]), found [1, 3]"),
        (ndarray([1, 2, 3, 4]), "found [4]"),
        ({"strData": "1,2,3,4"}, "rows of features are expected"),
        ({"jsonData": {"rows": []}}, "found an object"),
    ],
)
async def test_input_of_another_form_is_the_callers_mistake(serve_model: ServeModel, folder, body, text):
    status, reason, info = await refused(await serve_model(SklearnServer(str(folder))), body)
    assert (status, reason) == (400, "INPUT_MISMATCH")
    assert text in info


def test_folder_without_a_model_says_what_is_there(tmp_path):
    (tmp_path / "weights.bin").write_bytes(b"")
    with pytest.raises(ModelFolderError, match=r"model.joblib or .* is expected, found weights.bin"):
        SklearnServer(str(tmp_path)).load()


def test_file_that_is_no_pickle_says_so(tmp_path):
    (tmp_path / "model.joblib").write_bytes(b"not a pickle")
    with pytest.raises(ModelFolderError, match="model.joblib: does not load"):
        SklearnServer(str(tmp_path)).load()


def test_unknown_method_names_the_three():
    with pytest.raises(ValueError, match="'proba' is not one of predict_proba, predict, decision_function"):
        SklearnServer("/nowhere", method="proba")


async def test_metadata_and_replies_name_the_version(serve_model: ServeModel, folder):
    served = await serve_model(SklearnServer(str(with_provenance(folder))))
    async with served.session.post(f"{served.url}/predict", json=ndarray(ROWS)) as answer:
        assert answer.headers["x-slipway-model"] == f"iris/3 {PROVENANCE['digest']}"
    _, told = await served.get("/metadata")
    assert (told["name"], told["versions"], told["platform"]) == ("iris", ["3"], "sklearn")
    assert told["custom"] == {"digest": PROVENANCE["digest"], "uri": "models:/iris/3"}


async def test_metadata_yaml_is_what_metadata_answers(serve_model: ServeModel, folder):
    (folder / "metadata.yaml").write_text("name: flowers\nversions: [v7]\nplatform: seldon\ncustom: {author: ada}\n")
    _, told = await (await serve_model(SklearnServer(str(folder)))).get("/metadata")
    assert (told["name"], told["versions"], told["custom"]) == ("flowers", ["v7"], {"author": "ada"})


@pytest.mark.parametrize(("text", "wrong"), [("- a list\n", "an object is expected"), ("a: [", "not YAML")])
def test_metadata_yaml_that_cannot_be_read_stops_the_start(folder, text, wrong):
    (folder / "metadata.yaml").write_text(text)
    with pytest.raises(ModelFolderError, match=wrong):
        SklearnServer(str(folder)).load()
