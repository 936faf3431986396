"""Rolling updates of a trivial class while hundreds of requests a second come: none is lost (contract, behaviour 77)."""

from __future__ import annotations

import itertools
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.data import REPOSITORY
from tests.e2e.load import Load
from tests.e2e.platform import Platform
from tests.waiting import wait_until

NAMESPACE, NAME = "rolling", "constant"
IMAGE = "reader/constant"
PROMISED_RATE = 200
RATE = 220
"""Requests a second. An executor takes 256 at a time: at this rate two Pods may stand still for two seconds, as they do on two
cores where the next ones start, before one request more is refused."""
REQUESTS = int(os.environ.get("SLIPWAY_ROLLING_REQUESTS", "20000"))
CLASS = """
class Constant:
    def predict(self, X, names=None, meta=None):
        return {{"detections": [{{"label": "{version}", "confidence": 1.0, "box": {{}}}}]}}
"""
pytestmark = pytest.mark.timeout(900 + 2 * REQUESTS // RATE)


def build(platform: Platform, root: Path, version: str) -> None:
    folder = root / version / "images" / "constant"
    folder.mkdir(parents=True)
    shutil.copytree(REPOSITORY / "requirements", folder.parents[1] / "requirements")
    (folder / "image.yaml").write_text(f"name: {IMAGE}\nclass: constant.Constant\n")
    (folder / "constant.py").write_text(CLASS.format(version=version))
    platform.slipway("image", "build", f"{IMAGE}:{version}", str(folder))


def manifest(
    version: str, *, nodes: tuple[str, ...] = ("constant",), cpu: str = "", api: str = "v1", pods: int = 1
) -> dict[str, Any]:
    """``nodes``: a chain, the first one outermost, dealt out to ``pods`` componentSpecs."""
    graph: dict[str, Any] = {}
    for node in reversed(nodes):
        graph = {"name": node, "type": "MODEL", "children": [graph] if graph else []}
    resources = {"resources": {"requests": {"cpu": cpu}}} if cpu else {}
    containers = [{"name": node, "image": f"{IMAGE}:{version}", **resources} for node in nodes]
    specs = [{"spec": {"containers": containers[number::pods]}} for number in range(pods)]
    predictor = {"name": "main", "replicas": 2, "graph": graph, "componentSpecs": specs}
    return {
        "apiVersion": f"machinelearning.seldon.io/{api}",
        "kind": "SeldonDeployment",
        "metadata": {"name": NAME, "namespace": NAMESPACE},
        "spec": {"predictors": [predictor]},
    }


CHANGES = (
    manifest("2"),
    manifest("1", nodes=("renamed",)),
    manifest("1", nodes=("renamed",), cpu="50m"),
    manifest("2", nodes=("first", "second"), pods=2),
    manifest("1", api="v1alpha3"),
    manifest("1"),
)
"""A new image; an image and another name; resources; two Pods; another version of the API, and back (Seldon's test_rolling_updates)."""


@pytest.fixture
def constant(platform: Platform, tmp_path: Path) -> Iterator[str]:
    """The URL of a class that answers with its version."""
    for version in ("1", "2"):
        build(platform, tmp_path, version)
    platform.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    platform.apply(manifest("1"))
    try:
        platform.wait_available(NAME, NAMESPACE)
        yield f"http://{platform.gateway}/seldon/{NAMESPACE}/{NAME}/api/v1.0/predictions"
    finally:
        platform.kubectl("delete", "namespace", NAMESPACE)


def test_row_77_rolling_updates_lose_none_of_twenty_thousand_requests(platform: Platform, constant: str) -> None:
    rolls = 0
    with Load(constant, rate=RATE, bodies=(b"\xff\xd8",)) as load:
        for change in itertools.cycle(CHANGES):
            load.wait_replies(RATE)
            if len(load.replies) >= REQUESTS and rolls >= len(CHANGES):
                break
            platform.apply(change)
            platform.wait_available(NAME, NAMESPACE)
            wait_until(lambda: len(rolled(platform)) == 0, timeout_s=60, what="the end of the Pods before")
            rolls += 1
    said = Counter((reply.status, reply.error) for reply in load.failures())
    answers = Counter(reply.detections[0]["label"] for reply in load.replies if reply.is_valid)
    late_s = max(reply.sent - reply.due for reply in load.replies)
    print(
        f"{len(load.replies)} requests, {rolls} rolling updates, answers {dict(answers)}, sent up to {late_s:.2f} s late"
    )
    assert not said
    assert len(load.replies) >= REQUESTS
    assert min(load.due_each_second()) >= PROMISED_RATE
    assert answers.keys() == {"1", "2"}


def rolled(platform: Platform) -> list[str]:
    """The Pods that are going."""
    return [pod["metadata"]["name"] for pod in platform.pods(NAMESPACE) if "deletionTimestamp" in pod["metadata"]]
