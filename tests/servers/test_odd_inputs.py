"""Whatever a client sends, a server answers, says 400 INPUT_MISMATCH, or passes on what the model raised: nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import xgboost
from google.protobuf import any_pb2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from slipway.servers.errors import INPUT_MISMATCH, MODEL_FAILED
from slipway.servers.onnx import OnnxServer
from slipway.servers.sklearn import SklearnServer
from slipway.servers.xgboost import XgboostServer
from slipway.serving.errors import ServingError
from tests.servers.test_onnx import written

ODD: list[Any] = [
    None,
    {},
    {"x": [[1, 2, 3, 4]]},
    {"x": None},
    b"",
    b"\x00\xff",
    "text",
    any_pb2.Any(),
    [],
    [[]],
    [[1, 2], [3]],
    [[1, 2, 3, None]],
    [["a", "b", "c", "d"]],
    [[float("nan")] * 4],
    [[float("inf"), 1, 2, 3]],
    [[10**400, 1, 2, 3]],
    [[{"deep": 1}, 1, 2, 3]],
    5,
    True,
    np.zeros((0, 4)),
    np.zeros((2, 4, 1)),
    np.zeros(4),
    np.array(5),
    np.array([[1 + 2j] * 4]),
    np.array([[True] * 4]),
    np.array([["1", "2", "3", "4"]], dtype=object),
    np.full((1, 4), 1e308),
]
NAMES: list[list[Any]] = [[], ["x"], ["a", "b", "c", "d"], [None, 1, 2.0, "x"]]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=12,
)
Made = Callable[[Path], Any]


def sklearn(folder: Path) -> SklearnServer:
    joblib.dump(LogisticRegression(max_iter=1000).fit(*load_iris(return_X_y=True)), folder / "model.joblib")
    return SklearnServer(str(folder))


def boosted(folder: Path) -> XgboostServer:
    data = xgboost.DMatrix(*load_iris(return_X_y=True))
    booster = xgboost.train({"nthread": 1}, data, 2)
    (folder / "model.ubj").write_bytes(booster.save_raw("ubj"))
    return XgboostServer(str(folder))


def graph(folder: Path) -> OnnxServer:
    value = (TensorProto.FLOAT, ["n", 4])
    return OnnxServer(str(written(folder, [helper.make_node("Neg", ["x"], ["y"])], [("x", *value)], [("y", *value)])))


@pytest.fixture(scope="module", params=[sklearn, boosted, graph])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    made: Made = request.param
    loaded = made(tmp_path_factory.mktemp("model"))
    loaded.load()
    return loaded


def ask(call: Callable[[], Any]) -> None:
    """The answer has a JSON form, or the refusal is one of the two."""
    try:
        answer = call()
    except ServingError as refusal:
        assert (refusal.status_code, refusal.reason) in ((400, INPUT_MISMATCH), (500, MODEL_FAILED))
    else:
        json.dumps(answer.tolist() if hasattr(answer, "tolist") else str(answer))


@pytest.mark.parametrize("X", ODD, ids=lambda X: f"{type(X).__name__}-{str(X)[:20]}")
@pytest.mark.parametrize("names", NAMES, ids=len)
def test_odd_inputs_are_answered_or_refused(server: Any, X: Any, names: list[Any]) -> None:
    ask(lambda: server.predict(X, names))
    if isinstance(X, np.ndarray):
        ask(lambda: server.predict_named({"x": X}, names, [], {}))
        ask(lambda: server.predict_named({"x": X, "y": X}, [], ["z"], {}))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=VALUES)
def test_random_inputs_are_answered_or_refused(server: Any, value: Any) -> None:
    ask(lambda: server.predict(value, []))
