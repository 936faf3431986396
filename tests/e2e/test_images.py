"""Local images behind a real SeldonDeployment: digests that stay, tags side by side, a tag that nobody built."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from slipway.onebox.supervisor.procfs import identify
from tests.e2e import guest
from tests.e2e.platform import Platform
from tests.waiting import wait_until

NAMESPACE = "images"
NAME = "greetings"
IMAGE = "reader/greeter"
CONTAINER = "greeter"
RESTART_WITHIN_S = 40  # above the first back-off of 10 s
CLASS = """
print("greeter says {word}", flush=True)


class Greeter:
    def predict(self, X, names=None, meta=None):
        return {{"word": "{word}"}}
"""


def write_class(folder: Path, word: str) -> None:
    (folder / "greeter.py").write_text(CLASS.format(word=word))


def build(platform: Platform, tag: str, folder: Path) -> str:
    """The digest."""
    return platform.slipway("image", "build", "--quiet", f"{IMAGE}:{tag}", str(folder)).strip()


def manifest(tags: dict[str, str]) -> dict[str, Any]:
    """One predictor per entry of ``tags`` (predictor → tag), each with half of the traffic."""
    predictors = [
        {
            "name": name,
            "traffic": 100 // len(tags),
            "graph": {"name": CONTAINER, "type": "MODEL"},
            "componentSpecs": [{"spec": {"containers": [{"name": CONTAINER, "image": f"{IMAGE}:{tag}"}]}}],
        }
        for name, tag in tags.items()
    ]
    return {
        "apiVersion": "machinelearning.seldon.io/v1",
        "kind": "SeldonDeployment",
        "metadata": {"name": NAME, "namespace": NAMESPACE},
        "spec": {"predictors": predictors},
    }


@pytest.fixture(scope="module")
def source(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the class that is edited all the time. Tag 1 says ``first``, tag 2 says ``second``; both serve."""
    folder = guest.write_image_folder(tmp_path_factory.mktemp("greeter"), name="greeter")
    (folder / "image.yaml").write_text(f"name: {IMAGE}\nclass: greeter.Greeter\n")
    for tag, word in (("1", "first"), ("2", "second")):
        write_class(folder, word)
        build(platform, tag, folder)
    platform.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    platform.apply(manifest({"stable": "1", "canary": "2"}))
    platform.wait_available(NAME, NAMESPACE)
    yield folder
    platform.kubectl("delete", "sdep", NAME, "-n", NAMESPACE)


def pod_of(platform: Platform, predictor: str) -> dict[str, Any]:
    """The newest Pod of a predictor that is not going away."""
    pods = platform.pods(NAMESPACE, f"version={predictor}")
    living = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    return max(living, key=lambda pod: (pod["metadata"]["creationTimestamp"], pod["metadata"]["name"]))


def container_of(platform: Platform, predictor: str) -> dict[str, Any]:
    """Its status."""
    statuses = pod_of(platform, predictor)["status"].get("containerStatuses") or ()
    return next((status for status in statuses if status["name"] == CONTAINER), {})


def kill(platform: Platform, predictor: str) -> None:
    """-9 to the container's process; returns when the Pod's status says that it ended or runs again."""
    before = container_of(platform, predictor)
    pid = int(before["containerID"].removeprefix("process://"))
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: identify(pid) is None, what=f"process {pid} is dead")
    wait_until(
        lambda: container_of(platform, predictor).get("containerID") != before["containerID"],
        what="the status without the dead process",
    )


def wait_restarted(platform: Platform, predictor: str, restarts: int) -> dict[str, Any]:
    def status() -> dict[str, Any] | None:
        found = container_of(platform, predictor)
        return found if found.get("restartCount") == restarts and found["ready"] else None

    return wait_until(status, timeout_s=RESTART_WITHIN_S, what=f"{predictor} runs again") or {}


async def words(platform: Platform, wanted: set[str]) -> dict[str, str]:
    """Predictor → the word it says, asking until all ``wanted`` have answered."""
    url = f"http://{platform.gateway}/seldon/{NAMESPACE}/{NAME}/api/v1.0/predictions"
    found: dict[str, str] = {}
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        for _ in range(200):
            async with session.post(url, json={"jsonData": {}}) as answer:
                text = await answer.text()
                assert answer.status == 200, text
                found[answer.headers["x-slipway-predictor"]] = json.loads(text)["jsonData"]["word"]
            if found.keys() >= wanted:
                return found
    raise AssertionError(f"only {sorted(found)} of {sorted(wanted)} answered")


async def test_two_tags_of_one_image_run_side_by_side(platform: Platform, source: Path) -> None:
    assert await words(platform, {"stable", "canary"}) == {"stable": "first", "canary": "second"}
    digests = {container_of(platform, predictor)["imageID"] for predictor in ("stable", "canary")}
    assert len(digests) == 2
    listed = platform.slipway("image", "list")
    assert all(digest.removeprefix("sha256:")[:12] in listed for digest in digests)


async def test_crashed_replica_restarts_on_the_digest_it_was_created_with(platform: Platform, source: Path) -> None:
    before = container_of(platform, "stable")
    write_class(source, "third")
    (source / "half.py").write_text("def half(")
    kill(platform, "stable")
    after = wait_restarted(platform, "stable", before["restartCount"] + 1)
    assert after["imageID"] == before["imageID"]
    assert (after["lastState"]["terminated"]["exitCode"], after["lastState"]["terminated"]["reason"]) == (137, "Error")
    assert await words(platform, {"stable", "canary"}) == {"stable": "first", "canary": "second"}


async def test_moved_tag_reaches_new_pods_only_and_the_back_off_is_visible(platform: Platform, source: Path) -> None:
    before = container_of(platform, "stable")
    (source / "half.py").unlink(missing_ok=True)
    write_class(source, "third")
    moved = build(platform, "1", source)
    assert moved != before["imageID"]
    kill(platform, "stable")
    waiting = wait_until(
        lambda: container_of(platform, "stable")["state"].get("waiting"), what="a container that waits"
    )
    assert waiting["reason"] == "CrashLoopBackOff"
    assert "back-off 10s restarting failed container" in waiting["message"]
    pod = pod_of(platform, "stable")["metadata"]["name"]
    assert "CrashLoopBackOff" in platform.kubectl("get", "pods", "-n", NAMESPACE)
    assert "Back-off" in platform.kubectl("describe", "pod", pod, "-n", NAMESPACE).partition("Events:")[2]
    assert (await words(platform, {"canary"}))["canary"] == "second"

    after = wait_restarted(platform, "stable", before["restartCount"] + 1)
    assert after["imageID"] == before["imageID"]
    logs = ("logs", pod, "-n", NAMESPACE, "-c", CONTAINER)
    assert "greeter says first" in platform.kubectl(*logs)
    assert "greeter says first" in platform.kubectl(*logs, "--previous")

    platform.kubectl("delete", "pod", pod, "-n", NAMESPACE)
    wait_until(lambda: container_of(platform, "stable").get("ready"), timeout_s=RESTART_WITHIN_S, what="a new Pod")
    assert container_of(platform, "stable")["imageID"] == moved
    assert (await words(platform, {"stable"}))["stable"] == "third"


async def test_tag_never_built_names_the_command_and_building_it_heals(platform: Platform, source: Path) -> None:
    platform.apply(manifest({"stable": "1", "canary": "never"}))
    command = f"slipway image build {IMAGE}:never"

    def reason() -> str:
        waiting: dict[str, str] = (container_of(platform, "canary").get("state") or {}).get("waiting") or {}
        return waiting.get("reason", "")

    wait_until(lambda: reason() in ("ErrImagePull", "ImagePullBackOff"), what="a Pod without an image")
    pod = pod_of(platform, "canary")["metadata"]["name"]
    wait_until(
        lambda: command in platform.kubectl("describe", "pod", pod, "-n", NAMESPACE).partition("Events:")[2],
        what="an event with the command that builds the image",
    )
    assert (await words(platform, {"canary"}))["canary"] == "second"  # the old Pod goes on meanwhile
    write_class(source, "fourth")
    build(platform, "never", source)
    platform.wait_available(NAME, NAMESPACE)
    assert pod_of(platform, "canary")["metadata"]["name"] == pod
    assert (await words(platform, {"canary"}))["canary"] == "fourth"
