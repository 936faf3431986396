"""seldon/plain: the objects alone, with no SeldonDeployment and no route of a mesh, find a model and detect."""

from __future__ import annotations

import base64
import json
import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from scripts.demo import photo
from tests.data import REPOSITORY
from tests.e2e.platform import Platform

SPACE = "plain"
SECRET = "slipway-model-storage"
DEPLOYMENT = "deployment/yolo-stable-0-image-transformer-yolo-detector"
PHOTO = 7
NO_ROUTE = {"target": {"kind": "HTTPRoute"}, "patch": "$patch: delete\nkind: HTTPRoute\nmetadata: {name: yolo}\n"}


@pytest.fixture
def address(platform: Platform, tmp_path: Path) -> Iterator[str]:
    """Of the predictor's Service, in a namespace with the Secret that docs/without-istio.md makes."""
    content = {
        "kind": "Kustomization",
        "namespace": SPACE,
        "resources": [os.path.relpath(REPOSITORY / "seldon" / "plain" / "yolo", tmp_path.resolve())],
        "patches": [NO_ROUTE],  # one machine's API has no HTTPRoute
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(content))
    given = platform.get("secret", SECRET, "slipway-system")["data"]
    lines = [f"{name}={base64.b64decode(value).decode()}" for name, value in given.items()]
    (tmp_path / "storage.env").write_text("\n".join(lines))
    platform.kubectl("create", "namespace", SPACE)
    try:
        words = ("create", "secret", "generic", SECRET, "-n", SPACE)
        platform.kubectl(*words, f"--from-env-file={tmp_path / 'storage.env'}")
        platform.kubectl("apply", "-k", str(tmp_path))
        platform.kubectl("rollout", "status", DEPLOYMENT, "-n", SPACE, "--timeout=120s")
        service = platform.get("service", "yolo-stable", SPACE)["spec"]
        (port,) = (item["port"] for item in service["ports"] if item["name"] == "http")
        yield f"http://{service['clusterIP']}:{port}"
    finally:
        platform.kubectl("delete", "namespace", SPACE)


def test_plain_objects_fetch_their_model_and_find_what_is_on_a_photo(platform: Platform, address: str):
    url = f"{address}/api/v1.0/predictions"
    request = urllib.request.Request(url, data=photo(PHOTO), headers={"Content-Type": "image/jpeg"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        found = json.load(answer)["jsonData"]["detections"]
        told = answer.headers["x-slipway-model"]
    assert found
    assert told.startswith("shapes/1 sha256:")
    assert platform.kubectl("get", "sdep", "-n", SPACE, "-o", "name").strip() == ""
