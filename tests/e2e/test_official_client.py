"""SeldonClient of seldon-core 1.17.1, from its own environment, against the running platform."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scripts.demo import photo
from tests.data import REPOSITORY
from tests.e2e.platform import Platform
from tests.e2e.test_wire_forms import PHOTO, assert_prediction

pytestmark = pytest.mark.conformance

OFFICIAL_PYTHON = REPOSITORY / ".venv-seldon" / "bin" / "python"
PROGRAM = REPOSITORY / "tests" / "conformance" / "call_gateway.py"


def predict(platform: Platform, transport: str, form: str, sent: Path) -> dict[str, Any]:
    if not OFFICIAL_PYTHON.exists():
        pytest.fail(f"{OFFICIAL_PYTHON} does not exist: run tests/conformance/environment")
    printed = platform.run(str(OFFICIAL_PYTHON), str(PROGRAM), platform.gateway, transport, form, str(sent))
    reply: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return reply


@pytest.mark.parametrize("form", ["bin_data", "str_data", "json_data"])
@pytest.mark.parametrize("transport", ["rest", "grpc"])
def test_official_client_gets_the_boxes(platform: Platform, transport: str, form: str, tmp_path: Path) -> None:
    sent = tmp_path / "photo.jpg"
    sent.write_bytes(photo(PHOTO))
    reply = predict(platform, transport, form, sent)
    assert reply["success"], reply
    assert_prediction(reply["response"])


@pytest.mark.parametrize(("transport", "said"), [("rest", "415"), ("grpc", "are no JPEG")])
def test_official_client_sees_a_refusal(platform: Platform, transport: str, said: str, tmp_path: Path) -> None:
    sent = tmp_path / "photo.jpg"
    sent.write_bytes(b"no photo")
    reply = predict(platform, transport, "bin_data", sent)
    assert not reply["success"]
    assert said in json.dumps(reply)
