"""slipway.client through the real gateway: the demo's canary ``yolo`` over REST and gRPC."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from scripts.demo import photo
from slipway.client import AsyncClient, Client, Detections, Refused
from slipway.client.forms import FORMS, GRPC_FORMS
from tests.e2e.platform import Platform
from tests.e2e.test_wire_forms import CONFIDENCE_TOLERANCE, PHOTO, PIXEL_TOLERANCE, expected

PREDICTORS = {"1": "stable", "2": "canary"}
WIRES = [*(("rest", form) for form in FORMS), *(("grpc", form) for form in GRPC_FORMS)]


def url(platform: Platform, name: str = "yolo") -> str:
    return f"http://{platform.gateway}/seldon/default/{name}"


def assert_right(found: Detections) -> None:
    """The boxes of the version that answered, and everything that headers say of it."""
    assert found.model is not None
    assert found.photo is not None
    wanted = expected(found.model.version)
    assert [one.label for one in found] == [one["label"] for one in wanted]
    for one, other in zip(found, wanted, strict=True):
        assert one.confidence == pytest.approx(other["confidence"], abs=CONFIDENCE_TOLERANCE)
        corners = (one.box.x_min, one.box.y_min, one.box.x_max, one.box.y_max)
        assert corners == pytest.approx(tuple(other["box"].values()), abs=PIXEL_TOLERANCE)
    assert (found.photo.width, found.photo.height) == (256, 192)
    assert (found.model.name, found.predictor) == ("shapes", PREDICTORS[found.model.version])
    assert found.reply.models == (found.model,)
    assert list(found.reply.node_ms) == ["image-transformer", "yolo-detector"]
    assert sum(found.reply.node_ms.values()) < found.reply.elapsed_ms
    assert len(found.reply.request_id) == 36


@pytest.mark.parametrize(("transport", "form"), WIRES)
def test_photo_in_every_form_gives_the_boxes(platform: Platform, transport: Any, form: Any) -> None:
    with Client(url(platform), transport=transport, form=form) as client:
        assert_right(client.detect(photo(PHOTO)))


@pytest.mark.parametrize("transport", ["rest", "grpc"])
async def test_many_photos_are_split_as_declared(platform: Platform, transport: Any) -> None:
    async with AsyncClient(url(platform), transport=transport) as client:
        found = await client.detect_many((photo(PHOTO) for _ in range(60)), at_once=8)
    for one in found:
        assert_right(one)
    assert 40 <= Counter(one.predictor for one in found)["stable"] <= 60  # 90 %: outside it once in a million runs


@pytest.mark.parametrize("transport", ["rest", "grpc"])
def test_refusals_carry_code_reason_and_sentence(platform: Platform, transport: Any) -> None:
    with Client(url(platform), transport=transport) as client:
        with pytest.raises(Refused, match="IMAGE_UNDECODABLE") as refused:
            client.detect(photo(PHOTO)[:-500])
        assert (refused.value.code, len(refused.value.request_id)) == (400, 36)
        with pytest.raises(Refused, match="UNSUPPORTED_MEDIA_TYPE: The 5 bytes are no JPEG"):
            client.detect(b"hello")
    with Client(url(platform, "nobody"), transport=transport) as client, pytest.raises(Refused) as lost:
        client.detect(photo(PHOTO))
    assert lost.value.code == 404


@pytest.mark.parametrize("transport", ["rest", "grpc"])
def test_whole_message_and_feedback_pass(platform: Platform, transport: Any) -> None:
    with Client(url(platform), transport=transport) as client:
        pixels = cv2.imdecode(np.frombuffer(photo(PHOTO), np.uint8), cv2.IMREAD_COLOR_RGB)
        reply = client.predict({"data": {"ndarray": pixels.tolist()}, "meta": {"puid": "mine-1"}})
        assert reply.message["jsonData"]["model"]["name"] == "shapes"
        assert client.feedback(1.0, reply=reply).predictor in PREDICTORS.values()


@pytest.mark.parametrize("transport", ["rest", "grpc"])
async def test_asynchronous_client_does_all_that_the_blocking_one_does(platform: Platform, transport: Any) -> None:
    pixels = cv2.imdecode(np.frombuffer(photo(PHOTO), np.uint8), cv2.IMREAD_COLOR_RGB)
    async with AsyncClient(url(platform), transport=transport) as client:
        found = await client.detect(pixels)
        assert found.predictor in PREDICTORS.values()
        assert (await client.feedback(0.5, reply=found)).predictor in PREDICTORS.values()
        reply = await client.predict({"data": {"ndarray": pixels.tolist()}})
        assert reply.message["jsonData"]["model"]["name"] == "shapes"
        with pytest.raises(Refused, match="UNSUPPORTED_MEDIA_TYPE"):
            await client.detect(b"hello")


def test_boxes_are_drawn_on_the_photo_that_was_sent(platform: Platform, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(photo(PHOTO))
    with Client(url(platform)) as client:
        picture = client.detect(path).draw(path)
    picture.save(tmp_path / "boxes.png")
    plain = cv2.resize(cv2.imread(str(path)), None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    drawn = cv2.imread(str(tmp_path / "boxes.png"))
    assert drawn.shape == plain.shape
    assert 0.005 < (np.abs(drawn.astype(int) - plain).max(axis=2) > 40).mean() < 0.5
