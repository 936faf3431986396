"""An image that the platform ships is built when a Pod first names it: once for all Pods, and its failure is told."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

import slipway
from slipway.contract.predictor_servers import SHIPPED
from slipway.onebox.images.errors import EnvironmentFailed
from slipway.onebox.images.store import Store
from slipway.onebox.paths import Paths
from slipway.onebox.runner import first_use
from slipway.onebox.runner.first_use import FirstUse
from slipway.onebox.runner.observed import BUILDING, Observed, image_awaited, image_came, start_failed
from slipway.onebox.services.platform_images import wanted_at_start
from tests.onebox_runner.conftest import IMAGE, Pods
from tests.waiting import eventually

PROGRAM = """
import pathlib, shutil, sys, time
gate, runs, source, target = map(pathlib.Path, sys.argv[1:5])
with runs.open("a") as file:
    file.write(sys.argv[-1] + "\\n")
while not gate.exists():
    time.sleep(0.01)
if gate.read_text():
    sys.exit(gate.read_text())
target.parent.mkdir(parents=True, exist_ok=True)
shutil.copyfile(source, target)
"""
"""A builder that waits for ``gate``; what is in it is the reason why it fails."""


class Builder:
    def __init__(self, pods: Pods, folder: Path) -> None:
        store = Store(pods.machine.paths)
        self.image = f"test/late:{folder.name}"  # the tests of a session share the store
        self.gate, self.runs = folder / "gate", folder / "runs"
        tags = (store.tag_file(*IMAGE.split(":")), store.tag_file(*self.image.split(":")))
        words = (str(path) for path in (self.gate, self.runs, *tags))
        pods.machine.first_use.shipped = {self.image}
        pods.machine.first_use.builder = (sys.executable, "-c", PROGRAM, *words)


@pytest.fixture
def builder(pods: Pods, tmp_path: Path) -> Builder:
    return Builder(pods, tmp_path)


async def test_pod_waits_for_its_image_and_then_runs(pods: Pods, builder: Builder) -> None:
    pods.start("python", "-c", "print('here')", image=builder.image)
    waiting = await pods.until(lambda: pods.state().get("waiting", {}).get("message") and pods.state()["waiting"])
    assert waiting["reason"] == BUILDING
    assert f"{builder.image} is built on its first use" in waiting["message"]
    builder.gate.write_text("")
    await pods.until(lambda: "Started" in pods.kube.reasons())
    told = [event["message"] for event in pods.kube.events if event["reason"] in ("Pulling", "Pulled")]
    assert any(message.startswith(f"{builder.image} was built in ") for message in told)
    assert builder.runs.read_text() == f"{builder.image}\n"


async def test_build_that_fails_is_told_and_tried_again(
    pods: Pods, builder: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slipway.onebox.runner.pod_worker.AGAIN_S", 0.1)
    builder.gate.write_text("no package index answers")
    pods.start("python", "-c", "print('here')", image=builder.image)
    await pods.until(lambda: any("no package index answers" in event["message"] for event in pods.kube.events))
    builder.gate.write_text("")
    await pods.until(lambda: "Started" in pods.kube.reasons())


async def test_pod_that_is_deleted_does_not_wait_for_the_build(pods: Pods, builder: Builder) -> None:
    worker = pods.start("python", "-c", "print('here')", image=builder.image)
    await pods.until(builder.runs.exists)
    worker.stop("deleted")
    await pods.until(lambda: worker._observed.is_finished)


async def test_all_who_ask_wait_for_one_build(pods: Pods, builder: Builder) -> None:
    made = pods.machine.first_use
    asking = [asyncio.create_task(made.build(builder.image)) for _ in range(3)]
    await eventually(builder.runs.exists)
    asking[0].cancel()
    builder.gate.write_text("")
    assert (await asking[1]) == (await asking[2]) > 0
    assert builder.runs.read_text() == f"{builder.image}\n"


async def test_build_that_takes_too_long_is_ended(
    pods: Pods, builder: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_use, "BUILD_TIMEOUT_S", 0.2)
    with pytest.raises(EnvironmentFailed, match=f"{builder.image}: not built within"):
        await pods.machine.first_use.build(builder.image)


def test_container_waits_without_end_until_the_image_came_or_failed() -> None:
    waiting = image_awaited(Observed(), "a", message="m").of("a")
    assert (waiting.phase, waiting.not_before, waiting.problem) == ("waiting", float("inf"), BUILDING)
    observed = image_came(image_awaited(Observed(), "a", message="m"), "a").of("a")
    assert (observed.not_before, observed.problem) == (0.0, "")
    failed = start_failed(
        image_awaited(Observed(), "a", message="m"), "a", reason="ErrImagePull", message="w", now=5.0, again_s=60.0
    )
    assert (failed.of("a").not_before, failed.of("a").problem) == (65.0, "ErrImagePull")


def test_servers_that_were_used_are_built_anew_at_the_start(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    own = [f"slipway/{name}:{slipway.__version__}" for name in ("executor", "storage-initializer")]
    assert wanted_at_start(paths) == own
    image = SHIPPED["ONNX_SERVER"]
    name, _, tag = image.partition(":")
    Store(paths).move_tag(name, tag, f"sha256:{'1' * 64}")
    assert wanted_at_start(paths) == [*own, image]
    assert image in FirstUse(paths).shipped
