"""Load rises and replicas with it; load ends and they go; no request is lost, and no apply takes a replica away."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.load import Load
from tests.e2e.platform import Platform
from tests.waiting import wait_until

NAME, IMAGE = "busy", "e2e/slow"
DEPLOYMENT = "busy-main-0-slow"
RATE = 12  # requests a second; one replica answers ten
MOST = 3
RISE_S, FALL_S = 120, 120
CLASS = """
import time
class Slow:
    def predict(self, X, names=None, meta=None):
        time.sleep(0.1)
        return {"detections": [{"label": "x", "confidence": 1.0, "box": {}}]}
"""
SCALED = {
    "minReplicas": 1,
    "maxReplicas": MOST,
    "metricsv2": [
        {
            "type": "Pods",
            "pods": {
                "metric": {"name": "slipway_queue_seconds"},
                "target": {"type": "AverageValue", "averageValue": "50m"},
            },
        }
    ],
    "behavior": {"scaleDown": {"stabilizationWindowSeconds": 15}},
}


def manifest(**component: Any) -> dict[str, Any]:
    component["spec"] = {"containers": [{"name": "slow", "image": f"{IMAGE}:1"}]}
    predictor = {"name": "main", "graph": {"name": "slow", "type": "MODEL"}, "componentSpecs": [component]}
    return {
        "apiVersion": "machinelearning.seldon.io/v1",
        "kind": "SeldonDeployment",
        "metadata": {"name": NAME, "namespace": "default"},
        "spec": {"predictors": [predictor]},
    }


@pytest.fixture
def busy(platform: Platform, tmp_path: Path) -> Iterator[str]:
    """The address of two replicas that nobody scales."""
    (tmp_path / "image.yaml").write_text(f"name: {IMAGE}\nclass: slow.Slow\n")
    (tmp_path / "slow.py").write_text(CLASS)
    platform.slipway("image", "build", f"{IMAGE}:1", str(tmp_path))
    platform.apply(manifest(replicas=2))
    platform.wait_available(NAME)
    yield f"http://{platform.gateway}/seldon/default/{NAME}/api/v1.0/predictions"
    platform.kubectl("delete", "sdep", NAME)


def replicas(platform: Platform) -> int:
    return int(platform.get("deployment", DEPLOYMENT)["spec"]["replicas"])


def ready(platform: Platform) -> int:
    return int(platform.get("deployment", DEPLOYMENT)["status"].get("readyReplicas", 0))


def scaled_by(platform: Platform) -> str:
    """Who wrote the number of replicas."""
    words = ("get", "deployment", DEPLOYMENT, "--show-managed-fields", "-o", "json")
    fields = json.loads(platform.kubectl(*words))["metadata"]["managedFields"]
    owners = [item["manager"] for item in fields if "f:replicas" in item["fieldsV1"].get("f:spec", {})]
    return ",".join(owners)


def test_row_72_replicas_follow_the_queue_and_nothing_is_lost(platform: Platform, busy: str) -> None:
    assert (replicas(platform), scaled_by(platform)) == (2, "slipway-controller")
    platform.apply(manifest(hpaSpec=SCALED))
    wait_until(lambda: platform.kubectl("get", "hpa", DEPLOYMENT, check=False).count("\n") == 2, timeout_s=60)
    assert replicas(platform) == 2  # not the one that an apply without replicas would leave
    wait_until(lambda: replicas(platform) == 1, timeout_s=FALL_S, what="one replica, with nothing to do")
    assert scaled_by(platform) == "slipway-autoscaler"
    wait_until(lambda: len(platform.pods(selector=f"app={DEPLOYMENT}")) == 1, timeout_s=60, what="one Pod")

    with Load(busy, rate=RATE, bodies=(b"\xff\xd8",)) as load:
        wait_until(lambda: replicas(platform) > 1, timeout_s=RISE_S, what="more than one replica")
        platform.apply(manifest(hpaSpec=SCALED))
        assert replicas(platform) > 1
        wait_until(lambda: ready(platform) > 1, timeout_s=RISE_S, what="more than one ready replica")
        load.wait_replies(3 * RATE)
    wait_until(lambda: replicas(platform) == 1, timeout_s=FALL_S, what="one replica again")
    assert not load.failures()

    said = platform.kubectl("describe", "hpa", DEPLOYMENT)
    assert '"slipway_queue_seconds" on pods' in said
    assert "reason: pods metric slipway_queue_seconds above target" in said
    assert "reason: All metrics below target" in said
    assert platform.get("sdep", NAME)["status"]["state"] == "Available"


def test_overlay_that_scales_measures_its_detector(platform: Platform) -> None:
    platform.kubectl("apply", "-k", "seldon/overlays/autoscale")
    try:
        platform.wait_available("yolo-scaled")

        def is_measured() -> bool:
            (hpa,) = json.loads(platform.kubectl("get", "hpa", "-l", "seldon-deployment-id=yolo-scaled", "-o", "json"))["items"]  # fmt: skip
            status = hpa.get("status") or {}
            states = {item["type"]: item["status"] for item in status.get("conditions") or ()}
            shown = [item.get("pods", {}).get("metric", {}).get("name") for item in status.get("currentMetrics") or ()]
            return states.get("ScalingActive") == "True" and shown == ["slipway_queue_seconds", "slipway_in_flight"]

        wait_until(is_measured, timeout_s=60, what="both metrics")
    finally:
        platform.kubectl("delete", "-k", "seldon/overlays/autoscale")
