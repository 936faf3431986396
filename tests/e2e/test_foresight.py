"""Before, while and after percentages are edited: `slipway plan`, `split` and `top` say what the platform does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from slipway.cli.plan import CHANGES
from tests.data import REPOSITORY
from tests.e2e.load import Load
from tests.e2e.platform import Platform
from tests.waiting import wait_until

OVERLAY = "seldon/overlays/canary"
MANIFEST = REPOSITORY / OVERLAY / "seldondeployment.yaml"
MIN_REPLIES = 60


@pytest.fixture
def yolo(platform: Platform) -> Platform:
    """The platform with the canary as the repository declares it."""
    platform.slipway("apply", "-k", OVERLAY)
    platform.wait_available("yolo")
    return platform


def plan(platform: Platform, path: Path) -> dict[str, Any]:
    (found,) = json.loads(platform.slipway("plan", "-f", str(path), "-o", "json"))
    answer: dict[str, Any] = found
    return answer


def test_what_is_applied_has_an_empty_plan(yolo: Platform) -> None:
    said = yolo.slipway("plan", "-k", OVERLAY, "--exit-code")  # 4 would be a failure here
    assert said == "0 to create, 0 to change, 1 unchanged; Pods that restart: 0\n"


def test_a_plan_names_the_pods_that_then_are_replaced(yolo: Platform, tmp_path: Path) -> None:
    path = tmp_path / "yolo.yaml"
    text = MANIFEST.read_text()
    first, edited = text.rsplit('name: confidence, value: "0.25"', 1)
    path.write_text(f'{first}name: confidence, value: "0.30"{edited}')
    before = {pod["metadata"]["name"] for pod in yolo.pods(selector="seldon-deployment-id=yolo")}
    planned = {name for item in plan(yolo, path)["restarts"] for name in item["pods"]}
    yolo.slipway("apply", "-f", str(path))
    try:
        yolo.wait_available("yolo")

        def gone() -> set[str]:
            return before - {pod["metadata"]["name"] for pod in yolo.pods(selector="seldon-deployment-id=yolo")}

        wait_until(lambda: gone() == planned, timeout_s=120, what=f"{planned} and no others are replaced")
        assert len(planned) == 1
    finally:
        yolo.slipway("apply", "-k", OVERLAY)
        yolo.wait_available("yolo")


def test_other_percentages_restart_nothing_and_are_seen_by_split(yolo: Platform, tmp_path: Path) -> None:
    path = tmp_path / "yolo.yaml"
    path.write_text(
        MANIFEST.read_text().replace("traffic: 90\n", "traffic: 60\n").replace("traffic: 10\n", "traffic: 40\n")
    )
    planned = plan(yolo, path)
    assert planned["restarts"] == []
    assert {(item["predictor"], item["before"], item["after"]) for item in planned["traffic"]} == {
        ("stable", 90, 60),
        ("canary", 10, 40),
    }
    yolo.slipway("apply", "-f", str(path))
    try:
        with Load(f"http://{yolo.gateway}/seldon/default/yolo/api/v1.0/predictions") as load:
            load.wait_replies(MIN_REPLIES)
            seen = json.loads(yolo.slipway("split", "yolo", "--for", "10s", "--json"))
            picture = json.loads(yolo.slipway("top", "--once", "--json"))
        assert [row["declared"] for row in seen["shares"]] == [60, 40]
        assert min(row["requests"] for row in seen["shares"]) > 0
        assert seen["sentences"] == []
        rows = {row["predictor"]: row for row in picture["predictors"] if row["name"] == "yolo"}
        assert rows["stable"]["requests_per_s"] > 0
        assert rows["stable"]["ready"] == rows["stable"]["pods"] == 1
        assert rows["stable"]["pss_bytes"] > 1 << 20
        assert rows["stable"]["cpu"] > 0
    finally:
        yolo.slipway("apply", "-k", OVERLAY)
        yolo.wait_available("yolo")


def test_the_document_shows_a_plan_as_it_is_printed(yolo: Platform, tmp_path: Path) -> None:
    path = tmp_path / "yolo.yaml"
    text = MANIFEST.read_text()
    path.write_text(text.replace("traffic: 90\n", "traffic: 75\n").replace("traffic: 10\n", "traffic: 25\n"))
    document = (REPOSITORY / "docs" / "before-an-apply.md").read_text()
    _, _, shown = document.partition("$ slipway plan -f yolo.yaml\n")
    assert yolo.slipway("plan", "-f", str(path)) == shown.partition("```")[0]


def test_a_plan_ends_with_4_where_something_would_change(yolo: Platform, tmp_path: Path) -> None:
    path = tmp_path / "yolo.yaml"
    path.write_text(
        MANIFEST.read_text().replace("traffic: 90\n", "traffic: 80\n").replace("traffic: 10\n", "traffic: 20\n")
    )
    with pytest.raises(AssertionError, match=f"--exit-code: {CHANGES}\n"):
        yolo.slipway("plan", "-f", str(path), "--exit-code")
