"""Component classes of this repository, unchanged, under the official server: they import nothing of Slipway."""

from __future__ import annotations

import base64
import json
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.data import REPOSITORY

pytestmark = pytest.mark.conformance

SIZE = json.dumps([{"name": "input", "value": "64x64", "type": "STRING"}])


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Import path with this repository and OpenCV, which the official environment does not have."""
    folder = tmp_path_factory.mktemp("libraries")
    (folder / "cv2").symlink_to(Path(cv2.__file__).parent)
    return f"{folder}:{REPOSITORY}"


def test_image_transformer_gives_the_same_record_under_both_servers(start_official, start_ours, libraries, tmp_path):
    interface = "model_wrappers.image_transformer.ImageTransformer"
    official = start_official(interface, tmp_path, PYTHONPATH=libraries, PREDICTIVE_UNIT_PARAMETERS=SIZE)
    ours = start_ours(interface, tmp_path, PREDICTIVE_UNIT_PARAMETERS=SIZE)
    official.wait_ready()
    ours.wait_ready()
    pixels = np.arange(48 * 32 * 3, dtype=np.uint8).reshape(32, 48, 3)
    body = {"binData": base64.b64encode(cv2.imencode(".png", pixels)[1].tobytes()).decode()}
    answers = [_post(server.http, "/transform-input", body) for server in (official, ours)]
    assert len(base64.b64decode(answers[0]["binData"])) > 64 * 64 * 3
    assert answers[1] == answers[0]


def test_tutorial_response_answers_the_same_under_both_servers(start_official, start_ours, libraries, tmp_path):
    interface = "model_wrappers.tutorial_response.TutorialResponse"
    official = start_official(interface, tmp_path, PYTHONPATH=libraries)
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
