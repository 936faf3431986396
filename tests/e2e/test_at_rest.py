"""A predictor that nobody asks goes to 0 replicas; twenty requests at once wake it, all are answered, and it rests again."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from benchmarks import trivial
from tests.e2e.platform import Platform
from tests.waiting import wait_until

NAME, IMAGE = "sleepy", "e2e/trivial"
DEPLOYMENT = "sleepy-main-0-model"
COOLDOWN_S = 2
RESTS_WITHIN_S = 60
AT_ONCE = 20
ANSWER_S = 60
BODY = json.dumps({"strData": "x" * 100_000}).encode()


@pytest.fixture
def sleepy(platform: Platform, tmp_path: Path) -> Iterator[str]:
    """The address of its predictions; what the apply said is in ``apply.txt``."""
    (tmp_path / "image.yaml").write_text(f"name: {IMAGE}\nclass: trivial.Trivial\n")
    (tmp_path / "trivial.py").write_text(Path(trivial.__file__).read_text())
    platform.slipway("image", "build", f"{IMAGE}:1", str(tmp_path))
    told = platform.kubectl("apply", "-f", "-", stdin=json.dumps(manifest()), check=False)
    assert "kedaSpec.triggers[1] has no effect on this machine" in told
    platform.wait_available(NAME)
    yield f"http://{platform.gateway}/seldon/default/{NAME}/api/v1.0/predictions"
    platform.kubectl("delete", "sdep", NAME)


def manifest() -> dict[str, Any]:
    keda = {
        "minReplicaCount": 0,
        "cooldownPeriod": COOLDOWN_S,
        "triggers": [
            {"type": "memory", "metricType": "AverageValue", "metadata": {"value": "2Gi"}},
            {"type": "cron", "metadata": {}},
        ],
    }
    component = {"kedaSpec": keda, "spec": {"containers": [{"name": "model", "image": f"{IMAGE}:1"}]}}
    predictor = {"name": "main", "graph": {"name": "model", "type": "MODEL"}, "componentSpecs": [component]}
    return {
        "apiVersion": "machinelearning.seldon.io/v1",
        "kind": "SeldonDeployment",
        "metadata": {"name": NAME, "namespace": "default"},
        "spec": {"predictors": [predictor]},
    }


def replicas(platform: Platform) -> int:
    return int(platform.get("deployment", DEPLOYMENT)["spec"]["replicas"])


def happened(platform: Platform) -> dict[str, int]:
    """Event → how often, of the ScaledObject that is there now."""
    events = json.loads(platform.kubectl("get", "events", "-o", "json"))["items"]
    uid = platform.get("scaledobject", DEPLOYMENT)["metadata"]["uid"]
    return {item["reason"]: item["count"] for item in events if item["involvedObject"].get("uid") == uid}


def ask(url: str) -> tuple[int, int]:
    request = urllib.request.Request(url, BODY, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=ANSWER_S) as reply:
        return reply.status, len(json.load(reply)["strData"])


def test_predictor_at_rest_answers_twenty_requests_at_once(platform: Platform, sleepy: str) -> None:
    wait_until(lambda: replicas(platform) == 0, timeout_s=RESTS_WITHIN_S, what="at rest")
    wait_until(lambda: not platform.pods(selector=f"app={DEPLOYMENT}"), timeout_s=RESTS_WITHIN_S, what="no Pod")
    with ThreadPoolExecutor(AT_ONCE) as threads:
        replies = [*threads.map(ask, [sleepy] * AT_ONCE)]
    assert replies == [(200, 100_000)] * AT_ONCE
    wait_until(lambda: replicas(platform) == 0, timeout_s=RESTS_WITHIN_S, what="at rest again")
    status = platform.get("sdep", NAME)["status"]
    assert status["state"] == "Available"
    expected = {"KEDAScaleTargetActivated": 1, "KEDAScaleTargetDeactivated": 2}
    wait_until(lambda: happened(platform) == expected, timeout_s=RESTS_WITHIN_S, what="one wake between two rests")
    assert platform.get("hpa", f"keda-hpa-{DEPLOYMENT}")["spec"]["minReplicas"] == 1
