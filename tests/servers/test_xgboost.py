"""XGBOOST_SERVER on a booster trained here, in its three file forms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xgboost

from slipway.servers.errors import ModelFolderError
from slipway.servers.xgboost import XgboostServer
from slipway.serving.v2_messages import InferRequest, RequestedOutput
from tests.servers.conftest import ServeModel, infer, ndarray, predict_grpc, refused, tensor

PARAMETERS = {"objective": "binary:logistic", "nthread": 1, "max_depth": 2}
ROWS = [[0.1, 0.9, 0.5], [0.8, 0.2, 0.4]]


def trained(names: list[str] | None = None) -> xgboost.Booster:
    rows = np.random.default_rng(7).random((60, 3))
    data = xgboost.DMatrix(pd.DataFrame(rows, columns=names) if names else rows, (rows[:, 0] > rows[:, 1]).astype(int))
    return xgboost.train(PARAMETERS, data, 5)


def save(booster: xgboost.Booster, path: Path) -> None:
    form = "json" if path.suffix == ".json" else "ubj"
    path.write_bytes(booster.save_raw(form))


@pytest.fixture(scope="module")
def booster() -> xgboost.Booster:
    return trained()


@pytest.mark.parametrize("name", ["model.bst", "model.json", "model.ubj"])
async def test_every_file_form_answers_as_the_booster(serve_model: ServeModel, tmp_path, booster, name):
    save(booster, tmp_path / name)
    served = await serve_model(XgboostServer(f"file://{tmp_path}"))
    expected = booster.predict(xgboost.DMatrix(np.array(ROWS))).tolist()
    status, answer = await served.post("/predict", ndarray(ROWS))
    assert (status, answer["data"]["ndarray"]) == (200, expected)
    assert list((await predict_grpc(served, ROWS)).data.tensor.values) == expected
    (output,) = (await infer(served, InferRequest((tensor("x", ROWS, "f4"),)))).outputs
    assert (output.name, output.datatype) == ("predict", "FP32")
    np.testing.assert_allclose(output.array, expected)
    asked = InferRequest((tensor("x", ROWS),), outputs=(RequestedOutput("risk"),))
    assert (await infer(served, asked)).outputs[0].name == "risk"


async def test_booster_of_named_columns_gets_them_by_name(serve_model: ServeModel, tmp_path):
    booster = trained(["a", "b", "c"])
    booster.save_model(tmp_path / "model.ubj")
    served = await serve_model(XgboostServer(str(tmp_path)))
    _, plain = await served.post("/predict", ndarray(ROWS))
    _, swapped = await served.post("/predict", ndarray([row[::-1] for row in ROWS], ["c", "b", "a"]))
    assert swapped["data"]["ndarray"] == plain["data"]["ndarray"]
    columns = tuple(tensor(name, column) for name, column in zip("abc", zip(*ROWS, strict=True), strict=True))
    np.testing.assert_allclose(
        (await infer(served, InferRequest(columns))).outputs[0].array, plain["data"]["ndarray"], rtol=1e-6
    )


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (ndarray([[1, 2]]), "rows of 3 features are expected (shape [n, 3]), found [1, 2]"),
        (ndarray([["a", "b", "c"]]), "rows of numbers are expected"),
        ({"strData": "1"}, "rows of features are expected"),
    ],
)
async def test_input_of_another_form_is_the_callers_mistake(serve_model: ServeModel, tmp_path, booster, body, text):
    save(booster, tmp_path / "model.bst")
    status, reason, info = await refused(await serve_model(XgboostServer(str(tmp_path))), body)
    assert (status, reason) == (400, "INPUT_MISMATCH")
    assert text in info


def test_file_that_is_no_booster_says_so(tmp_path):
    (tmp_path / "model.json").write_text('{"learner": 3}')
    with pytest.raises(ModelFolderError, match=r"model.json: XGBoost .* cannot read it"):
        XgboostServer(str(tmp_path)).load()
