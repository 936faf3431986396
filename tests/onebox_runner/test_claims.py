"""PersistentVolumeClaims: Pods wait for them, and a folder goes with its claim, never to the next one of the name."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from slipway.kube.client import Kube
from slipway.kube.errors import Conflict, NotFound
from slipway.kube.kinds import NAMESPACE, PERSISTENT_VOLUME_CLAIM, POD, Kind
from slipway.onebox.runner.claim_rounds import ClaimRounds
from slipway.onebox.runner.claims import (
    PROTECTION,
    claim_obstacle,
    claims_of,
    folder_name,
    next_step,
    patch_of,
    users_of_claims,
)
from slipway.onebox.runner.events import Events
from slipway.onebox.runner.references import NODE_NAME, MissingReference, Sources
from slipway.onebox.runner.rounds import MAX_SLEEP_S, RETRY_S
from slipway.onebox.runner.scheduling import obstacle, placed
from slipway.onebox.runner.spec import parse_pod
from slipway.onebox.runner.volumes import write_volumes
from tests.onebox_runner.objects import pod_object
from tests.onebox_runner.onebox import IMAGE, Onebox
from tests.waiting import eventually

KEY = ("default", "photos")
VOLUME = {"name": "v", "persistentVolumeClaim": {"claimName": "photos"}}
GOING = {"deletionTimestamp": "2026-01-01T00:00:00Z"}


def claim(
    *, phase: str = "Bound", finalizers: tuple[str, ...] = (PROTECTION,), is_going: bool = False, uid: str = "one"
) -> dict[str, Any]:
    own = {"name": "photos", "namespace": "default", "uid": uid, "resourceVersion": "7", "finalizers": [*finalizers]}
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    of = {"apiVersion": "v1", "kind": "PersistentVolumeClaim"}
    return {**of, "metadata": {**own, **(GOING if is_going else {})}, "spec": spec, "status": {"phase": phase}}


def user(name: str = "p", **spec: Any) -> dict[str, Any]:
    return pod_object(name, spec={"volumes": [VOLUME], **spec})


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({}, 'persistentvolumeclaim "photos" not found'),
        ({("other", "photos"): claim()}, 'persistentvolumeclaim "photos" not found'),
        ({KEY: claim(is_going=True)}, 'persistentvolumeclaim "photos" is being deleted'),
        ({KEY: claim(phase="")}, "pod has unbound immediate PersistentVolumeClaims"),
        ({KEY: claim()}, ""),
    ],
)
def test_a_pod_waits_for_its_claim_in_the_scheduler_s_words(claims: dict[Any, Any], why: str) -> None:
    assert claim_obstacle(user(), claims) == why
    preemption = "preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
    said = f"0/1 nodes are available: {why}. {preemption}" if why else ""
    assert obstacle(user(), None, 0, claims) == said
    assert obstacle(user(nodeName=NODE_NAME), None, 0, claims) == said
    assert (placed(user(), None, 0, claims)["spec"].get("nodeName") == NODE_NAME) is (not why)


def test_a_pod_without_claims_or_that_cannot_be_read_waits_for_none() -> None:
    for volumes in (None, [], [{"name": "v", "emptyDir": {}}], "v", [{"name": "v", "persistentVolumeClaim": {}}]):
        pod = pod_object(spec={"volumes": volumes})
        assert claims_of(pod) == frozenset()
        assert claim_obstacle(pod, {}) == ""


@pytest.mark.parametrize(
    ("item", "is_used", "step"),
    [
        (claim(finalizers=(), phase=""), False, "protect"),
        (claim(phase=""), False, "bind"),
        (claim(), False, None),
        (claim(is_going=True), True, None),
        (claim(is_going=True), False, "release"),
        (claim(finalizers=("example.com/mine",), is_going=True), False, None),
    ],
)
def test_a_claim_is_protected_then_bound_and_released_once_unused(
    item: dict[str, Any], step: str | None, *, is_used: bool
) -> None:
    assert next_step(item, is_used=is_used) == step


def test_a_step_changes_its_own_finalizer_and_only_the_version_that_was_seen() -> None:
    same = {"uid": "one", "resourceVersion": "7"}
    mine = "example.com/mine"
    assert patch_of(claim(finalizers=(mine,)), "protect") == {"metadata": {**same, "finalizers": [mine, PROTECTION]}}
    assert patch_of(claim(finalizers=(PROTECTION, mine)), "release") == {"metadata": {**same, "finalizers": [mine]}}
    bound = {"phase": "Bound", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}}
    assert patch_of(claim(), "bind") == {"metadata": same, "status": bound}


def test_pods_with_a_node_use_their_claims_and_pods_that_wait_do_not() -> None:
    assert users_of_claims([user()]) == frozenset()
    assert users_of_claims([user(nodeName=NODE_NAME)]) == {KEY}


class Claims:
    """Plays the API's claims, the Pods that are known, and those that still run."""

    def __init__(self, item: dict[str, Any], *pods: dict[str, Any]) -> None:
        self.item: dict[str, Any] | None = item
        self.pods = list(pods)
        self.held: set[tuple[str, str]] = set()
        self.is_changed = False
        self.events: list[str] = []

    def objects(self, kind: Kind) -> dict[Any, Any]:
        if kind == POD:
            return dict(enumerate(self.pods))
        return {KEY: self.item} if self.item else {}

    def remember(self, _: Kind, answer: dict[str, Any]) -> None:
        self.item = answer

    def forget(self, _: Kind, __: Any) -> None:
        self.item = None

    def record(self, _: Any, reason: str, message: str, **__: Any) -> None:
        self.events.append(f"{reason}: {message}")

    cannot_plan = Events.cannot_plan

    async def patch(self, _: Kind, name: str, body: Any, *, subresource: str | None, **__: Any) -> dict[str, Any]:
        assert self.item is not None
        assert (name, body["metadata"]["uid"]) == ("photos", self.item["metadata"]["uid"])
        if self.is_changed:
            raise Conflict({"code": 409, "message": "the object has been modified"})
        if subresource == "status":
            return {**self.item, "status": body["status"]}
        return {**self.item, "metadata": {**self.item["metadata"], **body["metadata"]}}

    def rounds(self, folder: Path) -> ClaimRounds:
        return ClaimRounds(self, self, self, folder=folder, held=lambda: self.held)  # type: ignore[arg-type]


async def test_a_new_claim_is_bound_in_two_rounds(tmp_path: Path) -> None:
    claims = Claims(claim(finalizers=(), phase=""))
    rounds = claims.rounds(tmp_path)
    assert [await rounds.round() for _ in range(3)] == [RETRY_S, MAX_SLEEP_S, MAX_SLEEP_S]
    assert claims.item is not None
    assert (claims.item["metadata"]["finalizers"], claims.item["status"]["phase"]) == ([PROTECTION], "Bound")


async def test_a_deleted_claim_s_folder_stays_until_no_pod_uses_it(tmp_path: Path) -> None:
    folder = tmp_path / "default_photos_one"
    folder.mkdir()
    (folder / "1.jpg").write_text("photo")
    folder.chmod(0o500)
    claims = Claims(claim(is_going=True), user(nodeName=NODE_NAME))
    rounds = claims.rounds(tmp_path)
    assert await rounds.round() == RETRY_S
    claims.held, claims.pods = {KEY}, []  # gone from the API, and its containers still stop
    assert await rounds.round() == RETRY_S
    assert (folder / "1.jpg").exists()
    claims.held, claims.is_changed = set(), True
    assert await rounds.round() == RETRY_S
    claims.is_changed = False
    assert await rounds.round() == MAX_SLEEP_S
    assert (claims.item, folder.exists()) == (None, False)


async def test_a_folder_that_cannot_be_deleted_keeps_its_claim_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "default_photos_one").mkdir()

    def refuse(folder: Path) -> None:
        raise OSError(30, "Read-only file system", str(folder))

    monkeypatch.setattr("slipway.onebox.runner.claim_rounds.remove_tree", refuse)
    claims = Claims(claim(is_going=True))
    assert await claims.rounds(tmp_path).round() == RETRY_S
    assert claims.item is not None
    assert "Read-only file system" in claims.events[0]


class LongName(Claims):
    async def patch(self, _: Kind, name: str, body: Any, **__: Any) -> dict[str, Any]:
        assert name == "p" * 253
        return {**(self.item or {}), **body}


async def test_a_claim_of_the_longest_name_goes_with_its_folder(tmp_path: Path) -> None:
    """Namespace, name and uid together are no name of a file any more."""
    item = claim(is_going=True)
    item["metadata"] |= {"name": "p" * 253, "namespace": "n" * 63}
    folder = tmp_path / folder_name(item)
    folder.mkdir()
    claims = LongName(item)
    assert await claims.rounds(tmp_path).round() == MAX_SLEEP_S
    assert (claims.item, folder.exists(), claims.events) == (None, False, [])


async def test_a_disk_that_says_no_to_one_claim_ends_no_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Any) -> str:
        raise OSError(5, "Input/output error", "claims")

    monkeypatch.setattr("slipway.onebox.runner.claim_rounds.folder_name", refuse)
    claims = Claims(claim(is_going=True))
    assert await claims.rounds(tmp_path).round() == MAX_SLEEP_S
    assert claims.events == ["FailedPlan: OSError: [Errno 5] Input/output error: 'claims'"]


async def test_a_claim_that_cannot_be_read_is_told_and_ends_no_round(tmp_path: Path) -> None:
    claims = Claims({**claim(phase=""), "spec": ["all"]})
    assert await claims.rounds(tmp_path).round() == MAX_SLEEP_S
    assert claims.events == ["FailedPlan: AttributeError: 'list' object has no attribute 'get'"]


def places(folder: Path, item: dict[str, Any], *, namespace_made: str = "") -> Path:
    """Where a Pod finds the claim."""
    namespaces = {("", "default"): {"metadata": {"creationTimestamp": namespace_made}}} if namespace_made else {}
    sources = Sources(claims={KEY: item}, namespaces=namespaces)
    return write_volumes(parse_pod(user()), folder / "pod", sources=sources, ip="127.16.0.1", claims=folder)["v"]


def test_pods_share_a_claim_and_the_next_claim_of_its_name_has_another_folder(tmp_path: Path) -> None:
    first = places(tmp_path, claim())
    (first / "1.jpg").write_text("photo")
    assert places(tmp_path, claim()) == first
    assert list(places(tmp_path, claim(uid="two")).iterdir()) == []


def test_a_volume_whose_claim_is_not_there_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(MissingReference, match='persistentvolumeclaim "photos" not found'):
        write_volumes(parse_pod(user()), tmp_path / "pod", sources=Sources(), ip="127.16.0.1", claims=tmp_path / "c")
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    ("namespace_made", "is_own"),
    [("2026-01-01T00:00:00Z", True), ("2026-01-03T00:00:00Z", False), ("", False)],
)
def test_a_folder_of_an_earlier_release_goes_to_a_claim_of_the_namespace_it_was_made_in(
    tmp_path: Path, namespace_made: str, *, is_own: bool
) -> None:
    earlier = tmp_path / "default_photos"
    earlier.mkdir()
    (earlier / "1.jpg").write_text("photo")
    os.utime(earlier, (1_767_312_000, 1_767_312_000))  # 2026-01-02
    found = places(tmp_path, claim(), namespace_made=namespace_made)
    assert (found / "1.jpg").exists() is is_own
    assert earlier.exists() is not is_own


@asynccontextmanager
async def team(kube: Kube, name: str) -> AsyncIterator[None]:
    await kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield
    await kube.delete(NAMESPACE, name)
    await eventually(lambda: is_gone(kube, NAMESPACE, name), timeout_s=20)


async def is_gone(kube: Kube, kind: Kind, name: str, *, namespace: str | None = None) -> bool:
    with suppress(NotFound):
        await kube.get(kind, name, namespace=namespace)
        return False
    return True


async def test_a_second_tenant_of_a_name_finds_nothing_of_the_first(onebox: Onebox, kube: Kube) -> None:
    """Pending without the claim, its files afterwards; with the namespace claim and files go, whoever used them."""
    folders = onebox.paths.data("claims")
    writes = [
        "python",
        "-c",
        "import os, sys, time; print(os.listdir(sys.argv[1]), flush=True); open(sys.argv[1] + '/1.jpg', 'w'); time.sleep(600)",
        "/v",
    ]
    container = {"name": "main", "image": f"{IMAGE}:1", "command": writes, "volumeMounts": [{"name": "v", "mountPath": "/v"}]}  # fmt: skip
    pod = user(containers=[container], terminationGracePeriodSeconds=1)
    pod["metadata"] = {"name": "p", "namespace": "team"}
    wanted = claim()
    wanted["metadata"] = {"name": "photos", "namespace": "team"}
    del wanted["status"]
    seen = []
    for _ in range(2):
        async with team(kube, "team"):
            await kube.create(pod)
            waits = await eventually(lambda: _condition(kube), timeout_s=20)
            assert 'persistentvolumeclaim "photos" not found' in waits["message"]
            assert not folders.exists() or not list(folders.iterdir())
            await kube.create(wanted)
            (folder,) = await eventually(lambda: _written(folders), timeout_s=20)
            bound = await kube.get(PERSISTENT_VOLUME_CLAIM, "photos", namespace="team")
            assert bound["status"] == {
                "phase": "Bound",
                "accessModes": ["ReadWriteOnce"],
                "capacity": {"storage": "1Gi"},
            }
            assert folder.name == f"team_photos_{bound['metadata']['uid']}"
            await kube.delete(PERSISTENT_VOLUME_CLAIM, "photos", namespace="team")
            assert folder.exists(), "a Pod uses it"
            logs = list(onebox.paths.pods.glob("team_p_*/logs/main/0.log"))
            seen += [line.split(" ", 3)[3] for path in logs for line in path.read_text().splitlines()]
        assert await eventually(lambda: not list(folders.iterdir()), timeout_s=20)
    assert seen == ["[]", "[]"]


async def _condition(kube: Kube) -> Any:
    pod = await kube.get(POD, "p", namespace="team")
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return next((item for item in conditions if item.get("reason") == "Unschedulable"), None)


def _written(folders: Path) -> list[Path]:
    return [path.parent for path in folders.glob("*/1.jpg")]
