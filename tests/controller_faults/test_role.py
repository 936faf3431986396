"""The controller's roles: all that it asks for is granted, and all that is granted it asks for."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import pytest

from slipway.controller.election import Timing
from slipway.controller.keep import Hosting, keep
from slipway.controller.leading import Election
from slipway.controller.meta import DEPLOYMENT_ID
from slipway.controller.settings import Settings
from slipway.kube.client import Kube
from slipway.kube.kinds import SELDON_DEPLOYMENT, SERVICE, Kind
from tests.contract.manifests import component, node, predictor, sdep
from tests.controller.test_deployment import built
from tests.controller_faults.conftest import Rig, make_rig
from tests.controller_faults.rights import Right, covers, given, needed
from tests.controller_faults.test_faults import live
from tests.controller_faults.world import SYSTEM
from tests.onebox_api.conftest import ApiProcess
from tests.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("hasty"), pytest.mark.timeout(300)]
ACCOUNT = "slipway-controller"
ACCOUNT_TOKEN = "token-of-the-account"
RBAC = ("ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")
NOT_ASKED = {
    Right("update", "machinelearning.seldon.io", "seldondeployments/finalizers"): "asked by the API server itself of "
    "whoever writes an owner with blockOwnerDeletion, where OwnerReferencesPermissionEnforcement is on",
}
CPU = {"type": "Resource", "resource": {"name": "cpu", "targetAverageUtilization": 70}}
FULL = predictor(
    graph=node("clf", children=[node("b")], type="TRANSFORMER"),
    componentSpecs=[
        component("clf", hpaSpec={"minReplicas": 1, "maxReplicas": 3, "metrics": [CPU]}, pdbSpec={"minAvailable": 1}),
        component("b", kedaSpec={"maxReplicaCount": 5, "triggers": [{"type": "cron", "metadata": {}}]}),
    ],
    explainer={
        "type": "AnchorTabular",
        "modelUri": "s3://bucket/why",
        "containerSpec": {"name": "why", "image": "example/explainer:0.1"},
    },
)
PLAIN = predictor(
    graph=node("clf", children=[node("b")], type="TRANSFORMER"), componentSpecs=[component("clf"), component("b")]
)


@pytest.fixture
async def rig(api: ApiProcess) -> AsyncIterator[Rig]:
    async with make_rig(api) as rig:
        yield rig


async def token_of_the_account(kube: Kube) -> str:
    """The manifests' objects are there, and a token of the account."""
    for kind in RBAC:
        for obj in built("kubernetes/overlays/keda"):
            if obj["kind"] == kind and obj["metadata"]["name"] == ACCOUNT:
                await kube.apply(obj, field_manager="person", kind=_kind(obj))
    meta = {"name": "token", "namespace": SYSTEM, "annotations": {"kubernetes.io/service-account.name": ACCOUNT}}
    data = {"token": base64.b64encode(ACCOUNT_TOKEN.encode()).decode()}
    secret = {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token", "metadata": meta}
    await kube.create({**secret, "data": data})
    return ACCOUNT_TOKEN


def _kind(obj: dict[str, Any]) -> Kind:
    group, _, version = obj["apiVersion"].rpartition("/")
    return Kind(group, version, f"{obj['kind'].lower()}s", obj["kind"], not obj["kind"].startswith("Cluster"))


async def test_roles_grant_what_the_controller_asks_for_and_nothing_else(rig: Rig) -> None:
    access = replace(rig.access, server=rig.proxy.url, token=await token_of_the_account(rig.world.kube))
    stop = asyncio.Event()
    async with Kube(access) as kube, Kube(access) as own:
        election = Election.of(own, namespace=SYSTEM, identity="one", timing=Timing(3, 2, 0.2))
        settings = Settings(has_keda=True, follow_interval_s=0.5)
        running = asyncio.create_task(keep(kube, settings, rig.registry, stop, Hosting(election=election)))
        try:
            await use_all(rig)
        finally:
            stop.set()
            await running
    assert [request for request in rig.proxy.seen if request.code in (401, 403)] == []
    assert missing(rig) == []
    assert (await rig.world.kube.get(SELDON_DEPLOYMENT, "full", namespace=rig.world.namespace))["status"]


async def use_all(rig: Rig) -> None:
    """What people do, with every kind of object that the controller makes and takes away."""
    await rig.world.apply({**sdep(FULL), "metadata": {"name": "full"}})
    await live(rig)
    await rig.world.until({"full": "Available"})
    await lose_a_service(rig)
    await rig.world.apply({**sdep(PLAIN), "metadata": {"name": "full"}})
    try:
        await eventually(lambda: _unused(rig) == set(), timeout_s=60, what="every right was used")
    except AssertionError:
        assert _unused(rig) == set()
        raise


async def lose_a_service(rig: Rig) -> None:
    """It is made again, and the event of its making is counted up."""
    kube, namespace = rig.world.kube, rig.world.namespace
    services = (await kube.list(SERVICE, namespace=namespace)).items
    found = next(obj for obj in services if obj["metadata"]["labels"].get(DEPLOYMENT_ID) == "full")["metadata"]
    await kube.delete(SERVICE, found["name"], namespace=namespace)

    async def is_back() -> bool:
        known = {obj["metadata"]["name"]: obj for obj in (await kube.list(SERVICE, namespace=namespace)).items}
        return found["name"] in known and known[found["name"]]["metadata"]["uid"] != found["uid"]

    await eventually(is_back, timeout_s=60, what=found["name"])


def missing(rig: Rig) -> list[str]:
    everywhere, at_home = _rules()
    return [
        f"{right} in {namespace or 'every namespace'}"
        for right, namespace in sorted(needed(rig.proxy.seen))
        if not covers([*everywhere, *(at_home if namespace == SYSTEM else ())], right)
    ]


def _unused(rig: Rig) -> set[Right]:
    asked = needed(rig.proxy.seen)
    everywhere, at_home = _rules()
    used = {right for right, _ in asked} | {right._replace(name="") for right, _ in asked}
    home = {right for right, namespace in asked if namespace == SYSTEM}
    home |= {right._replace(name="") for right in home}
    return (everywhere - used - NOT_ASKED.keys()) | (at_home - home)


def _rules() -> tuple[set[Right], set[Right]]:
    rules = {obj["kind"]: given(obj["rules"]) for obj in _roles()}
    return rules["ClusterRole"], rules["Role"]


def _roles() -> Iterator[dict[str, Any]]:
    """The controller's; the webhook's has tests of its own."""
    objects = (obj for obj in built("kubernetes/overlays/keda") if obj["metadata"]["name"] == ACCOUNT)
    return (obj for obj in objects if obj["kind"] in ("ClusterRole", "Role"))


def test_right_that_is_missing_is_seen() -> None:
    granted = given([{"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a"]}])
    assert covers(granted, Right("get", "", "secrets", "a"))
    assert not covers(granted, Right("get", "", "secrets", "b"))
    assert not covers(granted, Right("get", "", "secrets"))
    assert not covers(granted, Right("list", "", "secrets", "a"))
