"""Component classes of this repository, unchanged, under the official server: they import nothing of Slipway."""

from __future__ import annotations

import base64
import json
import shutil
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.shapes.evaluate import shapes_model
from scripts.demo import photo
from tests.data import REPOSITORY

pytestmark = pytest.mark.conformance

SIZE = json.dumps([{"name": "input", "value": "64x64", "type": "STRING"}])


LIBRARIES = str(REPOSITORY)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder as the storage initializer leaves it."""
    files = shapes_model(2)
    for path in (files.cfg_path, files.weights_path, files.names_path):
        shutil.copy(path, tmp_path)
    return tmp_path


def test_yolo_detector_finds_the_same_under_both_servers(start_official, start_ours, model, tmp_path):
    interface = "model_wrappers.yolo_detector.YoloDetector"
    parameters = json.dumps([{"name": "model_uri", "value": str(model), "type": "STRING"}])
    official = start_official(interface, tmp_path, PYTHONPATH=LIBRARIES, PREDICTIVE_UNIT_PARAMETERS=parameters)
    ours = start_ours(interface, tmp_path, PREDICTIVE_UNIT_PARAMETERS=parameters)
    official.wait_ready()
    ours.wait_ready()
    body = {"binData": base64.b64encode(photo(7)).decode()}
    answers = [_post(server.http, "/predict", body)["jsonData"] for server in (official, ours)]
    seen = [[(one["label"], one["class_id"]) for one in answer["detections"]] for answer in answers]
    assert seen[1] == seen[0]
    assert len(seen[0]) >= 2
    for one, other in zip(*(answer["detections"] for answer in answers), strict=True):  # their ONNX Runtimes differ
        assert one["confidence"] == pytest.approx(other["confidence"], abs=0.01)
        assert one["box"] == pytest.approx(other["box"], abs=1)
    assert [answer["model"] for answer in answers] == [answers[0]["model"]] * 2


def test_image_transformer_gives_the_same_record_under_both_servers(start_official, start_ours, tmp_path):
    interface = "model_wrappers.image_transformer.ImageTransformer"
    official = start_official(interface, tmp_path, PYTHONPATH=LIBRARIES, PREDICTIVE_UNIT_PARAMETERS=SIZE)
    ours = start_ours(interface, tmp_path, PREDICTIVE_UNIT_PARAMETERS=SIZE)
    official.wait_ready()
    ours.wait_ready()
    pixels = np.arange(48 * 32 * 3, dtype=np.uint8).reshape(32, 48, 3)
    body = {"binData": base64.b64encode(cv2.imencode(".png", pixels)[1].tobytes()).decode()}
    answers = [_post(server.http, "/transform-input", body) for server in (official, ours)]
    assert len(base64.b64decode(answers[0]["binData"])) > 64 * 64 * 3
    assert answers[1] == answers[0]


def test_tutorial_response_answers_the_same_under_both_servers(start_official, start_ours, tmp_path):
    interface = "model_wrappers.tutorial_response.TutorialResponse"
    official = start_official(interface, tmp_path, PYTHONPATH=LIBRARIES)
    ours = start_ours(interface, tmp_path)
    official.wait_ready()
    ours.wait_ready()
    box = {"x_min": 10, "y_min": 20, "x_max": 30, "y_max": 60}
    body = {"jsonData": {"detections": [{"label": "bird", "confidence": 0.5, "box": box}]}}
    answers = [_post(server.http, "/transform-output", body) for server in (official, ours)]
    assert [len(answer.pop("uid")) for answer in answers] == [32, 32]
    assert answers[0] == {"data": [["bird", 0.5, [20.0, 40.0, 20, 40]]], "success": "true"}
    assert answers[1] == answers[0]


def _post(port: int, path: str, body: object) -> dict[str, object]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=20) as response:
        return json.load(response)
