"""Real photos through the whole platform: the blood-cell model is registered, served, asked, and examined."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from mlflow.deployments import get_deploy_client

from model_wrappers import mlflow_darknet
from model_wrappers.darknet.average_precision import Found, Truth, average_precisions, mean
from model_wrappers.darknet.training.precision import CONFIDENCE
from model_wrappers.darknet.training.voc import load_voc
from slipway.client import Client, Detections
from tests.data import REPOSITORY, SHARED_DATA
from tests.e2e.platform import Platform

NAME, MODEL = "cells", "bccd"
FOLDER = REPOSITORY / "models" / "bccd"
NAMES = ("RBC", "WBC", "Platelets")
NEAR = 0.01  # of mAP; a served photo is a JPEG that the transformer resized in 8 bits
pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def deployments(variables: dict[str, str]) -> Iterator[Any]:
    deployments = get_deploy_client("slipway")
    yield deployments
    deployments.delete_deployment(NAME)


def test_cells_are_found_through_the_gateway_as_well_as_in_the_readme(platform: Platform, deployments: Any) -> None:
    photos = load_voc(SHARED_DATA / "bccd", "test", NAMES)
    files = {kind: FOLDER / f"bccd.{kind}" for kind in ("cfg", "weights", "names")}
    info = mlflow_darknet.log_model(
        **files, registered_model_name=MODEL, aliases=["champion"], licence="Apache-2.0", photos=photos.paths[:4]
    )
    made = deployments.create_deployment(NAME, f"models:/{MODEL}@champion", config={"confidence": CONFIDENCE})
    with Client(made["url"]) as client:
        served = client.detect_many(photos.paths, at_once=2)
    assert {str(one.model.version) for one in served if one.model} == {str(info.registered_model_version)}
    truths = [Truth(one.boxes, one.classes) for one in photos.annotations]
    found = mean(average_precisions(list(zip(truths, map(to_found, served), strict=True))))
    assert found >= 0.60
    (line,) = (line for line in (FOLDER / "README.md").read_text().splitlines() if line.startswith("| mean"))
    assert found == pytest.approx(float(line.strip("| ").removeprefix("mean | ").strip("*")), abs=NEAR)


def to_found(served: Detections) -> Found:
    boxes = [[one.box.x_min, one.box.y_min, one.box.x_max, one.box.y_max] for one in served]
    return Found(
        boxes=np.array(boxes, dtype=np.float64).reshape(-1, 4),
        classes=np.array([one.class_id for one in served], dtype=np.int64),
        scores=np.array([one.confidence for one in served], dtype=np.float64),
    )
