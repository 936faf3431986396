"""Routers, fusion and drift of this repository, unchanged, under the official server and ours: the replies are the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from model_wrappers.drift import REFERENCE_NAME, Reference
from model_wrappers.drift.facts import Seen
from model_wrappers.drift.reference import PhotoFacts
from tests.conformance.servers import Server
from tests.data import REPOSITORY

pytestmark = pytest.mark.conformance

ROW = {"label": "ring", "class_id": 0, "confidence": 0.8}
BOX = {"x_min": 1.0, "y_min": 1.0, "x_max": 9.0, "y_max": 9.0}
ANSWER = {"detections": [{**ROW, "box": BOX}], "image": {"width": 10, "height": 10}}


@pytest.fixture
def both(start_official: Any, start_ours: Any, tmp_path: Path) -> Any:
    """The class under either server."""

    def start(interface: str, **parameters: str | int) -> list[Server]:
        kinds = {str: "STRING", int: "INT"}
        listed = [{"name": name, "value": str(one), "type": kinds[type(one)]} for name, one in parameters.items()]
        environment = {"PYTHONPATH": str(REPOSITORY), "PREDICTIVE_UNIT_PARAMETERS": json.dumps(listed)}
        servers = [
            start(f"model_wrappers.{interface}", tmp_path, **environment) for start in (start_official, start_ours)
        ]
        for server in servers:
            server.wait_ready()
        return servers

    return start


def answers(servers: list[Server], path: str, body: Any) -> list[Any]:
    """The body of either server's answer of 200."""
    found = [server.ask(path, body) for server in servers]
    assert [status for status, _ in found] == [200, 200], found
    return [answer for _, answer in found]


@pytest.mark.parametrize("name", ["ThompsonRouter", "EpsilonGreedyRouter"])
def test_routers_route_and_count_the_same(both: Any, name: str) -> None:
    servers = both(f"routers.{name}", n_branches=3, state="memory", seed=7)
    data = {"data": {"ndarray": [[1.0]]}}
    for reward in (1.0, 0.0, 0.5):
        one, other = answers(servers, "/route", data)
        assert one["data"] == other["data"]
        assert one["data"]["ndarray"][0][0] in (0, 1, 2)
        feedback = {"request": data, "truth": data, "reward": reward, "response": {"meta": {"routing": {"clf": 2}}}}
        one, other = answers(servers, "/send-feedback", feedback)
        assert one["meta"]["tags"] == other["meta"]["tags"]
    assert other["meta"]["tags"]["router"]["branches"][2] == {"feedbacks": 3, "mean_reward": 0.5}
    lost = {"request": data, "truth": data, "reward": 1.0}
    assert [server.ask("/send-feedback", lost)[0] for server in servers] == [
        500,
        400,
    ]  # 1.17.1 knows no codes of errors


def test_fusion_answers_the_same(both: Any) -> None:
    servers = both("fusion.WeightedBoxFusion", conf_type="max")
    one, other = answers(servers, "/aggregate", [{"jsonData": ANSWER}, {"jsonData": ANSWER}])
    assert one["jsonData"] == other["jsonData"] == {**ANSWER, "models": []}


def test_drift_passes_answers_on_and_tags_them_the_same(both: Any, tmp_path: Path) -> None:
    photos = tuple(PhotoFacts(100.0 + number, (Seen("ring", 0.8, 0.5),)) for number in range(60))
    (tmp_path / REFERENCE_NAME).write_text(Reference(0.05, ("ring",), photos).to_json())
    servers = both("drift.DetectionDrift", model_uri=str(tmp_path), window=10)
    for _ in range(10):
        one, other = answers(servers, "/transform-output", {"jsonData": ANSWER})
        assert one["jsonData"] == other["jsonData"] == ANSWER
        assert one["meta"]["tags"] == other["meta"]["tags"]
    assert other["meta"]["tags"]["drift"]["state"] == "drifted"  # these boxes are of another size than the reference's
    assert other["meta"]["tags"]["drift"]["features"] == ["sizes"]
