"""The tutorial's service: its image, its graph, its address and its client."""

from __future__ import annotations

import json
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from client.send_photos import send
from model_wrappers.darknet import Detector
from model_wrappers.intake.decode import prepare
from model_wrappers.intake.request import Preparation
from models.shapes.evaluate import shapes_model
from scripts.demo import photo
from tests.e2e.platform import Platform
from tests.waiting import wait_until

PHOTO = 7
TOLERANCE = 0.02
PIXEL_TOLERANCE = 2.0
CONFIDENCE = 0.5


@pytest.fixture(scope="module")
def inference(platform: Platform) -> Iterator[str]:
    """Address of the service, deployed as the overlay's first lines say."""
    platform.slipway("image", "build", "slipway/tutorial-response:0.1.0", "images/tutorial-response")
    platform.kubectl("apply", "-k", "seldon/overlays/tutorial")
    platform.kubectl("apply", "-f", "istio/base/tutorial.yaml")
    url = f"http://{platform.gateway}/inference"
    try:
        platform.wait_available("tutorial")
        wait_until(lambda: post(url, b"x", "image/jpeg")[0] == 415, what="/inference reachable")
        yield url
    finally:
        platform.kubectl("delete", "-f", "istio/base/tutorial.yaml")
        platform.kubectl("delete", "-k", "seldon/overlays/tutorial")


def post(url: str, body: bytes, content_type: str) -> tuple[int, Any, str]:
    """Status, JSON, machine code."""
    request = urllib.request.Request(url, data=body, headers={"Content-Type": content_type})
    try:
        answer = urllib.request.urlopen(request, timeout=20)
    except urllib.error.HTTPError as refusal:
        answer = refusal
    with answer:
        return answer.status, json.load(answer), answer.headers.get("x-slipway-reason", "")


def form(field: bytes, content: bytes, *, filename: bytes = b'; filename="p.jpg"') -> bytes:
    return b'--b\r\nContent-Disposition: form-data; name="%b"%b\r\n\r\n%b\r\n--b--\r\n' % (field, filename, content)


def test_photo_in_the_field_image_gives_the_tutorials_answer(inference: str) -> None:
    reply = send(inference, "p.jpg", photo(PHOTO))
    assert reply.keys() == {"data", "uid", "success"}
    assert reply["success"] == "true"
    assert re.fullmatch(r"[0-9a-f]{32}", str(reply["uid"]))
    assert reply["uid"] != send(inference, "p.jpg", photo(PHOTO))["uid"]
    _, pixels = prepare(photo(PHOTO), Preparation(sharpness=1.2, jpeg_quality=75))
    wanted = Detector(shapes_model(2), confidence=CONFIDENCE, nms="obj", clip=False).detect(pixels)
    rows: Any = reply["data"]
    assert [row[1] for row in rows] == sorted((row[1] for row in rows), reverse=True)
    assert len(rows) == len(wanted) >= 2
    by_label = {one.label: one for one in wanted}
    assert len(by_label) == len(wanted)
    for label, probability, centred in rows:
        box = by_label[label].box
        assert probability == pytest.approx(by_label[label].confidence, abs=TOLERANCE)
        centre = [(box.x_min + box.x_max) / 2, (box.y_min + box.y_max) / 2]
        assert centred == pytest.approx([*centre, box.x_max - box.x_min, box.y_max - box.y_min], abs=PIXEL_TOLERANCE)


FORM = "multipart/form-data; boundary=b"
REFUSALS = {
    "no photo": (form(b"other", b"1", filename=b""), FORM, 400, "MICROSERVICE_BAD_DATA"),
    "empty photo": (form(b"image", b""), FORM, 400, "IMAGE_MISSING"),
    "cut photo": (form(b"image", photo(PHOTO)[:-500]), FORM, 400, "IMAGE_UNDECODABLE"),
    "no photo in the photo": (form(b"image", b"hello"), FORM, 415, "UNSUPPORTED_MEDIA_TYPE"),
    "another message's field": (form(b"strData", b"!!"), FORM, 400, "IMAGE_UNDECODABLE"),
    "no form": (b"{}", "application/json", 400, "MICROSERVICE_BAD_DATA"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_errors_have_honest_status_codes(inference: str, case: str) -> None:
    body, content_type, status, code = REFUSALS[case]
    found, answer, reason = post(inference, body, content_type)
    assert (found, reason, answer["status"]["reason"]) == (status, code, code)
    assert "success" not in answer


def test_get_is_no_inference(inference: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(inference, timeout=20)
    with refused.value as error:
        assert error.code == 405


def test_client_sends_drawn_photos_and_prints_the_replies(platform: Platform, inference: str) -> None:
    words = ("-m", "client.send_photos", "--url", inference, "--seed", "3")
    printed = platform.run(sys.executable, *words, "--count", "4").splitlines()
    assert len(printed) == 4
    assert all(json.loads(line.partition(" ")[2])["success"] == "true" for line in printed)
    assert "--folder" in platform.run(sys.executable, "-m", "client.send_photos", "--help")


def test_client_sends_a_folders_photos(platform: Platform, inference: str, tmp_path: Path) -> None:
    (tmp_path / 'a "b".JPG').write_bytes(photo(PHOTO))
    (tmp_path / "notes.txt").write_text("no photo")
    words = ("-m", "client.send_photos", "--url", inference, "--folder", str(tmp_path), "--count", "2")
    printed = platform.run(sys.executable, *words).splitlines()
    assert [json.loads(line.removeprefix('a "b".JPG '))["success"] for line in printed] == ["true", "true"]


def test_client_says_why_a_photo_is_refused(platform: Platform, inference: str, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"hello")
    words = ("-m", "client.send_photos", "--url", inference, "--folder", str(tmp_path))
    printed = platform.run(sys.executable, *words, check=False)
    assert "broken.jpg: HTTP 415" in printed
    assert "UNSUPPORTED_MEDIA_TYPE" in printed
