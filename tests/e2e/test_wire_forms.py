"""Every form in which a photo may be sent, through the gateway: the blocks of docs/requests.md as a reader runs them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import grpc
import numpy as np
import pytest

from model_wrappers.darknet import Detector
from models.shapes.evaluate import shapes_model
from scripts.demo import photo
from slipway.contract.limits import MAX_BODY_BYTES
from slipway.contract.protos import prediction_pb2 as pb
from slipway.contract.protos import prediction_pb2_grpc as stubs
from tests.data import REPOSITORY, SHARED_DATA
from tests.e2e.graphs import chain
from tests.e2e.platform import Platform
from tests.waiting import wait_until

DOCUMENT = REPOSITORY / "docs" / "requests.md"
BLOCKS = re.findall(r"^```bash\n(.*?)^```$", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)
ADDRESS = "127.0.0.1:8080"
CONFIDENCE_TOLERANCE = 0.02
PIXEL_TOLERANCE = 2.0
CALL_TIMEOUT_S = 20.0
PHOTO = 7  # of the drawn ones


@cache
def expected(version: str) -> list[dict[str, Any]]:
    """What the library itself finds on the photo with a version of the demo's model."""
    pixels = cv2.imdecode(np.frombuffer(photo(PHOTO), np.uint8), cv2.IMREAD_COLOR_RGB)
    found = Detector(shapes_model(int(version))).detect(pixels.astype(np.uint8))
    return [detection.to_json() for detection in found]


def assert_same_boxes(found: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> None:
    assert [one["label"] for one in found] == [one["label"] for one in wanted]
    for one, other in zip(found, wanted, strict=True):
        assert one["confidence"] == pytest.approx(other["confidence"], abs=CONFIDENCE_TOLERANCE)
        assert one["box"] == pytest.approx(other["box"], abs=PIXEL_TOLERANCE)


def assert_prediction(body: dict[str, Any]) -> None:
    answer = body["jsonData"]
    assert answer["image"] == {"width": 256, "height": 192}
    assert len(expected("2")) >= 2
    assert_same_boxes(answer["detections"], expected(answer["model"]["version"]))


def post(
    platform: Platform,
    body: bytes,
    content_type: str,
    *,
    name: str = "yolo",
    path: str = "predictions",
    **headers: str,
) -> tuple[int, Any, dict[str, str]]:
    """Status, JSON and headers (names in lower case)."""
    request = urllib.request.Request(
        f"http://{platform.gateway}/seldon/default/{name}/api/v1.0/{path}",
        data=body,
        headers={"Content-Type": content_type, **headers},
    )
    try:
        answer = urllib.request.urlopen(request, timeout=CALL_TIMEOUT_S)
    except urllib.error.HTTPError as refusal:
        answer = refusal
    with answer:
        return answer.status, json.load(answer), {key.lower(): value for key, value in answer.headers.items()}


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: re.sub(r"\W+", "-", block)[:40])
def test_block_of_the_document_gives_the_boxes(platform: Platform, block: str, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(photo(PHOTO))
    assert ADDRESS in block
    path = f"{Path(sys.executable).parent}:{platform.environment['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block.replace(ADDRESS, platform.gateway)],
        cwd=tmp_path,
        env={**platform.environment, "PATH": path, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=CALL_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert_prediction(json.loads(done.stdout))


def test_document_holds_every_form() -> None:
    text = "".join(BLOCKS)
    forms = ("image/jpeg", "image=@", "file=@", "binData=@", '"binData"', '"strData"', '"jsonData"', "ndarray", "grpc")
    assert [form for form in forms if form not in text] == []


def test_reply_names_request_predictor_model_and_times(platform: Platform) -> None:
    status, body, headers = post(platform, photo(PHOTO), "image/jpeg", **{"Seldon-Puid": "ours-1"})
    assert status == 200
    model = body["jsonData"]["model"]
    assert headers["seldon-puid"] == "ours-1"
    assert headers["x-slipway-model"] == f"shapes/{model['version']} {model['digest']}"
    assert headers["x-slipway-predictor"] == {"1": "stable", "2": "canary"}[model["version"]]
    assert re.fullmatch(
        r"image-transformer;dur=\d+\.\d+, yolo-detector;dur=\d+\.\d+", headers["server-timing"].replace('"', "")
    )
    assert re.fullmatch(r"[0-9a-f-]{36}", post(platform, photo(PHOTO), "image/jpeg")[2]["seldon-puid"])


def test_grpc_reply_names_predictor_model_and_times(platform: Platform) -> None:
    with grpc.insecure_channel(platform.gateway) as channel:
        _, call = stubs.SeldonStub(channel).Predict.with_call(
            pb.SeldonMessage(binData=photo(PHOTO)),
            metadata=[("seldon", "yolo"), ("namespace", "default")],
            timeout=CALL_TIMEOUT_S,
        )
    metadata = dict([*call.initial_metadata(), *call.trailing_metadata()])
    assert metadata["x-slipway-predictor"] in ("stable", "canary")
    assert re.fullmatch(r"shapes/[12] sha256:[0-9a-f]{64}", metadata["x-slipway-model"])
    assert "yolo-detector;dur=" in metadata["server-timing"]
    assert metadata["seldon-puid"]


REFUSALS = {
    "no-photo": (b"not a photo", "image/jpeg", 415, "UNSUPPORTED_MEDIA_TYPE"),
    "cut": (photo(PHOTO)[:-900], "image/jpeg", 400, "IMAGE_UNDECODABLE"),
    "no-base64": (b'{"strData": "!!!"}', "application/json", 400, "IMAGE_UNDECODABLE"),
    "nothing": (b'{"jsonData": {}}', "application/json", 400, "IMAGE_MISSING"),
    "address": (b'{"jsonData": {"url": "http://127.0.0.1/"}}', "application/json", 400, "URL_REFUSED"),
    "array": (b'{"data": {"ndarray": [[1, 2]]}}', "application/json", 400, "UNSUPPORTED_INPUT"),
    "no-json": (b"{", "application/json", 400, "MICROSERVICE_BAD_DATA"),
    "large-photo": (b"\xff\xd8" + bytes(8 * 2**20), "image/jpeg", 413, "IMAGE_TOO_LARGE"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refusal_has_a_code_and_a_sentence(platform: Platform, case: str) -> None:
    body, content_type, status, code = REFUSALS[case]
    found, answer, headers = post(platform, body, content_type)
    assert (found, answer["status"]["reason"], headers["x-slipway-reason"]) == (status, code, code)
    assert len(answer["status"]["info"]) > 20
    assert {"seldon-puid", "x-slipway-predictor"} <= headers.keys()
    assert f"`{code}`" in DOCUMENT.read_text()


def test_gateways_413_equals_the_components(platform: Platform) -> None:
    """The component is asked at its own port, without the gateway."""
    pod = next(pod for pod in platform.pods() if "-stable-" in pod["metadata"]["name"])
    answers = []
    for host, path in (
        (platform.gateway, "/seldon/default/yolo/api/v1.0/predictions"),
        (f"{pod['status']['podIP']}:{component_port(pod)}", "/predict"),
    ):
        request = urllib.request.Request(
            f"http://{host}{path}", data=b"x" * (MAX_BODY_BYTES + 1), headers={"Content-Type": "image/jpeg"}
        )
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=CALL_TIMEOUT_S)
        with refused.value as error:
            reason, kind = error.headers["x-slipway-reason"], error.headers["content-type"]
            answers.append((error.code, reason, kind.partition(";")[0], json.load(error)))
    assert answers[0][:2] == (413, "PAYLOAD_TOO_LARGE")
    assert answers[0] == answers[1]


def component_port(pod: dict[str, Any]) -> int:
    container = next(one for one in pod["spec"]["containers"] if one["name"] == "image-transformer")
    port: int = next(port["containerPort"] for port in container["ports"] if port["name"] == "http")
    return port


@pytest.fixture(scope="module")
def misfit(platform: Platform) -> Iterator[str]:
    """A graph whose transformer makes another size than the network reads."""
    yield from deployed(platform, chain("misfit", "models:/shapes/2", size="224x192"))


def deployed(platform: Platform, manifest: dict[str, Any]) -> Iterator[str]:
    name = manifest["metadata"]["name"]
    platform.apply(manifest)
    try:
        platform.wait_available(name)
        wait_until(lambda: post(platform, b"x", "image/jpeg", name=name)[0] != 503, what=f"{name} reachable")
        yield name
    finally:
        platform.kubectl("delete", "sdep", name)


def test_input_unequal_to_the_networks_is_refused_naming_both(platform: Platform, misfit: str) -> None:
    status, body, headers = post(platform, photo(PHOTO), "image/jpeg", name=misfit)
    assert (status, headers["x-slipway-reason"]) == (400, "INPUT_SIZE_MISMATCH")
    assert "224x192" in body["status"]["info"]
    assert "192x192" in body["status"]["info"]


@pytest.fixture(scope="module")
def coco(platform: Platform) -> Iterator[str]:
    yield from deployed(platform, chain("coco", "models:/coco/1", size="320x320"))


COCO_SEEN = {
    "bird.jpg": [("bird", 1.00)],
    "dog.jpg": [("dog", 0.94), ("car", 0.88), ("bicycle", 0.86), ("cat", 0.45), ("dog", 0.35), ("truck", 0.26)],
}
"""What Darknet sees at thresh .25 and nms .45, from the shared data's README."""


@pytest.mark.data
@pytest.mark.parametrize("name", COCO_SEEN)
def test_coco_model_sees_what_darknet_sees(platform: Platform, coco: str, name: str) -> None:
    status, body, _ = post(platform, (SHARED_DATA / "photos" / name).read_bytes(), "image/jpeg", name=coco)
    assert status == 200
    seen = [(one["label"], one["confidence"]) for one in body["jsonData"]["detections"]]
    assert [label for label, _ in seen] == [label for label, _ in COCO_SEEN[name]]
    wanted = [confidence for _, confidence in COCO_SEEN[name]]
    assert [confidence for _, confidence in seen] == pytest.approx(wanted, abs=CONFIDENCE_TOLERANCE)
