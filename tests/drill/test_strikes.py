"""What strikes do, and that they put right what they broke also where something goes wrong between."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from slipway.drill import strikes
from slipway.drill.errors import DrillError
from slipway.drill.site import Site
from slipway.drill.subject import BROKEN_COMMAND, DETECTOR, Subject

CONTAINERS = ["image-transformer", DETECTOR, "seldon-container-engine"]


class FakeSite:
    """Two ready Pods whose containers come back as soon as they are killed; ``log`` says what was done."""

    def __init__(self, *, fails: str = "") -> None:
        self.log: list[str] = []
        self.applied = Subject()
        self._fails = fails
        self._restarts = dict.fromkeys(("a", "b"), 0)
        self._is_frozen = dict.fromkeys(("a", "b"), False)

    async def pods(self, _predictor: str = "main") -> list[dict[str, Any]]:
        return [self._pod(name) for name in self._restarts]

    def _pod(self, name: str) -> dict[str, Any]:
        command = {"command": BROKEN_COMMAND} if self.applied.is_broken else {}
        counts = [{"name": container, "restartCount": self._restarts[name]} for container in CONTAINERS]
        ready = "False" if self._is_frozen[name] else "True"
        return {
            "metadata": {"name": name, "uid": name},
            "spec": {"containers": [{"name": container, **command} for container in CONTAINERS]},
            "status": {"conditions": [{"type": "Ready", "status": ready}], "containerStatuses": counts},
        }

    def signal_container(self, pod: dict[str, Any], container: str, number: signal.Signals) -> None:
        name = pod["metadata"]["name"]
        self.log.append(f"{number.name} {name}/{container}")
        self._restarts[name] += number == signal.SIGKILL
        self._is_frozen[name] = number == signal.SIGSTOP

    async def delete_pod(self, pod: dict[str, Any], *, grace_s: int | None) -> None:
        name = pod["metadata"]["name"]
        self.log.append(f"delete {name} {grace_s}")
        if name in self._restarts:
            del self._restarts[name]
            self._restarts[f"{name}2"] = 0
            self._is_frozen[f"{name}2"] = False

    async def has_ready(self, replicas: int, _predictor: str = "main") -> bool:
        return len(self._restarts) == replicas

    async def apply(self, wanted: Subject) -> None:
        self.log.append(f"apply broken={wanted.is_broken} following={wanted.uses_following} canary={wanted.canary}")
        self.applied = wanted

    async def await_well(self, _wanted: Subject) -> None:
        self.log.append("well")

    async def stop_part(self, part: str) -> None:
        self.log.append(f"stop {part}")
        if self._fails == "stop":
            raise DrillError(f"{part}: not stopped in time")

    async def start_part(self, part: str) -> None:
        self.log.append(f"start {part}")

    async def wait(self, predicate: Callable[[], Awaitable[bool]], *, what: str) -> float:
        if self._fails and self._fails in what:
            raise DrillError(what)
        assert await predicate(), what
        return 7.0


async def strike(how: strikes.Strike, fake: FakeSite, *, count: int = 0) -> None:
    await how(cast("Site", fake), count)


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FROZEN_S", "BROKEN_S", "SPLIT_WITHIN_S"):
        monkeypatch.setattr(strikes, name, 0.0)


async def test_pod_dies_in_the_middle_of_its_work_and_pods_take_turns() -> None:
    fake = FakeSite()
    await strike(strikes.kill_pod, fake, count=1)
    assert fake.log == [*(f"SIGKILL b/{name}" for name in CONTAINERS), "delete b 0"]


async def test_container_of_the_pod_with_fewer_restarts_dies() -> None:
    fake = FakeSite()
    for count in range(3):
        await strike(strikes.kill_container(DETECTOR), fake, count=count)
    assert fake.log == [f"SIGKILL {name}/{DETECTOR}" for name in "aba"]


async def test_pod_whose_containers_wait_long_is_replaced_before_the_next_strike() -> None:
    fake = FakeSite()
    for count in range(2 * strikes.RESTARTS + 1):
        await strike(strikes.kill_container(DETECTOR), fake, count=count)
    assert fake.log[-3:] == [f"SIGKILL b/{DETECTOR}", "delete a None", f"SIGKILL a2/{DETECTOR}"]


@pytest.mark.parametrize("fails", ["", "not ready"])
async def test_frozen_model_is_thawed_whatever_happens(fails: str) -> None:
    fake = FakeSite(fails=fails)
    if fails:
        with pytest.raises(DrillError):
            await strike(strikes.freeze_model, fake)
    else:
        await strike(strikes.freeze_model, fake)
    assert fake.log == [f"SIGSTOP a/{DETECTOR}", f"SIGCONT a/{DETECTOR}"]


async def test_service_that_stops_halfway_comes_back() -> None:
    fake = FakeSite(fails="stop")
    with pytest.raises(DrillError, match="not stopped in time"):
        await strike(strikes.without_part("s3"), fake)
    assert fake.log == ["stop s3", "start s3"]


@pytest.mark.parametrize("fails", ["", "another Pod"])
async def test_stopped_service_comes_back_whatever_happens(fails: str) -> None:
    fake = FakeSite(fails=fails)
    if fails:
        with pytest.raises(DrillError):
            await strike(strikes.without_part("s3"), fake)
    else:
        await strike(strikes.without_part("s3"), fake)
    assert (fake.log[0], fake.log[-2], fake.log[-1]) == ("stop s3", "delete a 0", "start s3")


async def test_roll_goes_there_and_back() -> None:
    fake = FakeSite()
    for _ in range(2):
        await strike(strikes.roll, fake)
    assert fake.log == [
        "apply broken=False following=True canary=None",
        "well",
        "apply broken=False following=False canary=None",
        "well",
    ]


async def test_broken_version_is_taken_back() -> None:
    fake = FakeSite()
    await strike(strikes.roll_broken, fake)
    assert [line for line in fake.log if "apply" in line] == [
        "apply broken=True following=False canary=None",
        "apply broken=False following=False canary=None",
    ]


async def test_broken_version_that_is_never_tried_is_no_strike_and_is_taken_back() -> None:
    fake = FakeSite(fails="does not start")
    with pytest.raises(DrillError, match="a Pod of the version"):
        await strike(strikes.roll_broken, fake)
    assert fake.log[-1] == "apply broken=False following=False canary=None"


@pytest.mark.parametrize("how", [strikes.kill_pod, strikes.kill_container(DETECTOR), strikes.shadow_dies])
async def test_without_a_pod_there_is_nothing_to_strike(how: strikes.Strike) -> None:
    class Empty(FakeSite):
        async def pods(self, _predictor: str = "main") -> list[dict[str, Any]]:
            return []

    with pytest.raises(DrillError, match="no Pod is there to strike"):
        await strike(how, Empty())


async def test_some_flips_kill_a_pod_too() -> None:
    fake = FakeSite()
    for count in range(strikes.KILL_EACH):
        await strike(strikes.flip, fake, count=count)
    assert sum("apply" in line for line in fake.log) == strikes.KILL_EACH
    assert [line for line in fake.log if "delete" in line] == ["delete b 0"]
