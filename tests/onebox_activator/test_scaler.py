"""Objects that nobody can read: the scaler goes on with the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pytest

from slipway.kube.client import Kube
from slipway.kube.errors import Conflict, Unavailable
from slipway.kube.kinds import DEPLOYMENT, HORIZONTAL_POD_AUTOSCALER, SCALED_OBJECT, Kind
from slipway.kube.reflector import Reflector
from slipway.onebox.activator.autoscaler import autoscaler_of
from slipway.onebox.activator.limits import RETRY_S
from slipway.onebox.activator.scaler import Scaler, look_period_s, who_wakes
from slipway.onebox.mesh.admin import Admin
from slipway.onebox.runner.cache import Cache
from slipway.onebox.runner.events import Events


class Reflected:
    def __init__(self, *objects: tuple[Kind, dict[str, Any]]) -> None:
        self._objects = objects

    def objects(self, kind: Kind) -> Mapping[tuple[str, str], dict[str, Any]]:
        return {("default", obj["metadata"]["name"]): obj for of, obj in self._objects if of == kind}


class RecordingKube:
    def __init__(self) -> None:
        self.patched: list[tuple[str, dict[str, Any]]] = []
        self.deleted: list[tuple[str, str]] = []
        self.is_away = False

    async def patch(self, kind: Kind, name: str, patch: dict[str, Any], **_: Any) -> dict[str, Any]:
        self.patched.append((name, patch))
        return {"apiVersion": kind.api_version, "kind": kind.kind, **patch, "metadata": _meta(name)}

    async def delete(self, kind: Kind, name: str, *, namespace: str, uid: str) -> None:
        assert (kind, namespace) == (HORIZONTAL_POD_AUTOSCALER, "default")
        if self.is_away:
            raise Unavailable("refused")
        self.deleted.append((name, uid))

    async def apply(self, obj: dict[str, Any], **_: Any) -> dict[str, Any]:
        return {**obj, "metadata": {**_meta(obj["metadata"]["name"]), **obj["metadata"]}}


class Said:
    def __init__(self) -> None:
        self.messages: list[tuple[str, str]] = []

    def record(self, obj: Mapping[str, Any], reason: str, message: str, **_: Any) -> None:
        self.messages.append((obj["metadata"]["name"], f"{reason}: {message}"))


class QuietEnvoy:
    async def stats(self, pattern: str) -> Mapping[str, int]:
        del pattern
        return {}


def _meta(name: str) -> dict[str, Any]:
    return {"name": name, "namespace": "default", "uid": f"uid-{name}", "resourceVersion": "1"}


def deployment(name: str, **more: Any) -> tuple[Kind, dict[str, Any]]:
    return DEPLOYMENT, {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": _meta(name), "spec": {}, **more}


def scaled_object(name: str, **spec: Any) -> tuple[Kind, dict[str, Any]]:
    given = {"scaleTargetRef": {"name": name}, "cooldownPeriod": 60, "triggers": [], **spec}
    return SCALED_OBJECT, {
        **deployment(name)[1],
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "spec": given,
    }


@pytest.mark.parametrize(
    "odd",
    [
        (deployment("odd", status={"conditions": ["Progressing"]}), scaled_object("odd")),
        (deployment("odd", spec={"replicas": "many"}), scaled_object("odd")),
        (deployment("odd"), scaled_object("odd", scaleTargetRef="odd")),
        (deployment("odd", spec={"template": {"metadata": ["app"]}}), scaled_object("odd")),
    ],
)
async def test_object_that_cannot_be_read_is_named_once_and_the_others_are_scaled(
    odd: tuple[tuple[Kind, dict[str, Any]], ...],
) -> None:
    ready = {"readyReplicas": 1}
    kube, said, now = RecordingKube(), Said(), 0.0
    cache = Cache(cast(Reflector, Reflected(*odd, deployment("well", status=ready), scaled_object("well"))))
    scaler = Scaler(
        cast(Kube, kube), cache, admins=[cast(Admin, QuietEnvoy())], events=cast(Events, said), clock=lambda: now
    )
    for _ in range(3):
        await scaler.round()
        now += 100
    assert ("well", 0) in [(name, patch["spec"]["replicas"]) for name, patch in kube.patched if "spec" in patch]
    assert not any(name == "odd" and "spec" in patch for name, patch in kube.patched)
    complaints = [message for name, message in said.messages if name == "odd" and "Activated" not in message]
    assert len(complaints) == 1
    assert complaints[0].startswith("ScaledObjectCheckFailed")


async def test_condition_without_a_type_says_nothing() -> None:
    kube, said = RecordingKube(), Said()
    cache = Cache(cast(Reflector, Reflected(deployment("a", status={"conditions": [{}]}), scaled_object("a"))))
    scaler = Scaler(cast(Kube, kube), cache, admins=[cast(Admin, QuietEnvoy())], events=cast(Events, said))
    await scaler.round()
    assert not [message for _, message in said.messages if "CheckFailed" in message]


CPU = {"type": "cpu", "metricType": "Utilization", "metadata": {"value": "80"}}
PROMETHEUS = {"type": "prometheus", "metadata": {"query": "up", "threshold": "1"}}


@pytest.mark.parametrize(
    ("triggers", "owner", "goes"),
    [
        ([PROMETHEUS], "uid-a", True),
        ([], "uid-a", True),
        ([CPU, PROMETHEUS], "uid-a", False),
        ([PROMETHEUS], "uid-of-another", False),
    ],
)
async def test_the_autoscaler_goes_with_the_last_trigger_that_is_measured_here(
    triggers: list[dict[str, Any]], owner: str, *, goes: bool
) -> None:
    made = autoscaler_of(scaled_object("a", triggers=[CPU])[1])
    assert made is not None
    meta = {**made["metadata"], **_meta("keda-hpa-a"), "ownerReferences": [{"uid": owner}]}
    known = Reflected(
        deployment("a"), scaled_object("a", triggers=triggers), (HORIZONTAL_POD_AUTOSCALER, {**made, "metadata": meta})
    )
    kube = RecordingKube()
    cache = Cache(cast(Reflector, known))
    scaler = Scaler(cast(Kube, kube), cache, admins=[cast(Admin, QuietEnvoy())], events=cast(Events, Said()))
    kube.is_away = True
    assert (await scaler.round() == RETRY_S) is goes
    kube.is_away = False
    await scaler.round()
    await scaler.round()
    assert kube.deleted == ([("keda-hpa-a", "uid-keda-hpa-a")] if goes else [])
    assert (("default", "keda-hpa-a") in cache.objects(HORIZONTAL_POD_AUTOSCALER)) is not goes


def test_event_counts_the_requests_that_wait() -> None:
    assert [who_wakes(held) for held in (0, 1, 2)] == ["its minReplicaCount", "1 request waits", "2 requests wait"]


class Quiet:
    """A Deployment at work whose traffic has stopped, an API that may have a newer one, and a clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self.kube = RecordingKube()
        self.cache = Cache(cast(Reflector, Reflected(deployment("a", status={"readyReplicas": 1}), scaled_object("a"))))
        self.scaler = Scaler(
            cast(Kube, self.kube),
            self.cache,
            admins=[cast(Admin, QuietEnvoy())],
            events=cast(Events, Said()),
            clock=lambda: self.now,
        )

    def scaled(self) -> list[dict[str, Any]]:
        return [patch for name, patch in self.kube.patched if "replicas" in patch.get("spec", {})]


async def test_a_round_that_did_not_look_puts_nothing_to_rest() -> None:
    quiet = Quiet()
    await quiet.scaler.round()  # a look: it counts as busy until now
    quiet.now = 60 - 0.01
    await quiet.scaler.round()
    period = look_period_s(quiet.scaler._scaled())
    assert period is not None
    quiet.now = 60 - 0.01 + period / 2  # the cooldown is over, and there may have been requests since the last look
    await quiet.scaler.round()
    assert quiet.scaled() == []
    quiet.now = 60 + period
    await quiet.scaler.round()
    assert [patch["spec"]["replicas"] for patch in quiet.scaled()] == [0]


async def test_only_what_was_looked_at_goes_to_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    quiet = Quiet()

    async def changed_meanwhile(_kind: Kind, name: str, patch: dict[str, Any], **_: Any) -> dict[str, Any]:
        if patch.get("spec", {}).get("replicas") == 0 and patch["metadata"].get("resourceVersion") == "1":
            quiet.kube.patched.append((name, {"refused": patch}))
            raise Conflict({"code": 409, "message": "the object has been modified", "reason": "Conflict"})
        quiet.kube.patched.append((name, patch))
        return {**deployment(name)[1], **patch, "metadata": _meta(name)}

    monkeypatch.setattr(quiet.kube, "patch", changed_meanwhile)
    await quiet.scaler.round()
    quiet.now = 120
    assert await quiet.scaler.round() == RETRY_S
    assert quiet.scaled() == []
    assert any("refused" in patch for _, patch in quiet.kube.patched)
