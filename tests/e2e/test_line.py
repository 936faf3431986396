"""The line, from the demo to an edited percentage."""

from __future__ import annotations

import json
import os
import stat
import time
from pathlib import Path

import pytest

from slipway.drill.interval import binomial_bounds
from tests.data import REPOSITORY
from tests.e2e.load import Load, Reply
from tests.e2e.platform import Platform

MANIFEST = REPOSITORY / "seldon" / "overlays" / "canary" / "seldondeployment.yaml"
SETTLE_S = 1.0  # the promise: a new split within a second of the apply's answer
REPLIES = 200


def url(platform: Platform) -> str:
    return f"http://{platform.gateway}/seldon/default/yolo/api/v1.0/predictions"


def test_demo_reports_the_split_the_times_and_both_maps(platform: Platform) -> None:
    report = (platform.home / "demo.txt").read_text()
    assert "declared canary share 10%" in report
    assert "REST: p50" in report
    assert "gRPC: p50" in report
    assert (REPOSITORY / "build" / "demo.png").stat().st_size > 10_000
    maps = {
        line.split()[1]: float(line.split()[2])
        for line in report.splitlines()
        if line.startswith(("stable ", "canary "))
    }
    assert maps["shapes/2"] >= 0.90 > maps["shapes/1"]


def test_demo_again_is_idempotent(platform: Platform) -> None:
    before = staying(platform)
    platform.slipway("apply", "-k", "seldon/overlays/canary")
    platform.wait_available("yolo")
    assert staying(platform) == before


def staying(platform: Platform) -> set[str]:
    """Uids of Pods, without those that other tests are done with."""
    return {pod["metadata"]["uid"] for pod in platform.pods() if "deletionTimestamp" not in pod["metadata"]}


def test_platform_stays_below_three_gigabytes(platform: Platform) -> None:
    status = json.loads(platform.slipway("status", "--json"))
    assert 0 < status["pss_bytes"] < 3e9


def manifest_with(traffic: tuple[int, int]) -> str:
    text = MANIFEST.read_text()
    assert text.count("traffic: 90\n") == text.count("traffic: 10\n") == 1
    return text.replace("traffic: 90\n", f"traffic: {traffic[0]}\n").replace(
        "traffic: 10\n", f"traffic: {traffic[1]}\n"
    )


def assert_split(replies: list[Reply], traffic: tuple[int, int]) -> None:
    assert len(replies) >= REPLIES * 0.9
    canary = sum(reply.predictor == "canary" for reply in replies)
    low, high = binomial_bounds(len(replies), traffic[1] / 100)
    assert low <= canary <= high, f"{canary} of {len(replies)} at {traffic[1]} %"


def test_percentages_follow_an_apply_under_load(platform: Platform, tmp_path: Path) -> None:
    with Load(url(platform)) as load:
        load.wait_replies(20)
        for traffic in ((90, 10), (50, 50), (0, 100), (100, 0), (90, 10)):
            path = tmp_path / "yolo.yaml"
            path.write_text(manifest_with(traffic))
            platform.slipway("apply", "-f", str(path))
            settled = time.monotonic() + SETTLE_S
            load.wait_replies(REPLIES + 60)
            assert_split(load.sent_between(settled, time.monotonic()), traffic)
    assert load.failures() == []


def test_percentages_follow_kubectl_edit_under_load(platform: Platform, tmp_path: Path) -> None:
    editor = tmp_path / "editor"
    for old, new in (((90, 10), (0, 100)), ((0, 100), (90, 10))):
        editor.write_text(
            f"#!/bin/sh\nsed -i 's/traffic: {old[0]}$/traffic: __{new[0]}/; s/traffic: {old[1]}$/traffic: __{new[1]}/; s/__//' \"$1\"\n"
        )
        editor.chmod(editor.stat().st_mode | stat.S_IXUSR)
        with Load(url(platform)) as load:
            load.wait_replies(20)
            out = platform.kubectl("edit", "sdep", "yolo", EDITOR=str(editor))
            assert "edited" in out
            settled = time.monotonic() + SETTLE_S
            load.wait_replies(REPLIES + 60)
            assert_split(load.sent_between(settled, time.monotonic()), new)
        assert load.failures() == []


def test_wrong_percentages_are_refused_with_the_sum(platform: Platform, tmp_path: Path) -> None:
    path = tmp_path / "yolo.yaml"
    path.write_text(manifest_with((90, 20)))
    out = platform.kubectl("apply", "-f", str(path), check=False)
    assert "sums to 110, not 100 (stable 90, canary 20)" in out


@pytest.mark.skipif(os.geteuid() == 0, reason="as an ordinary user: root passes by definition")
def test_platform_runs_as_an_ordinary_user(platform: Platform) -> None:
    assert {Path(f"/proc/{pid}").stat().st_uid for pid in platform.processes()} == {os.geteuid()}
