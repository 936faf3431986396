"""What others write into the objects that the controller makes: set back where the SeldonDeployment has the say, kept elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.controller.drift import first_foreign, foreign_entries, taken_over
from slipway.controller.meta import APPLIED, MANAGER
from slipway.controller.plan import changes, stamped
from slipway.controller.slim import slim
from slipway.kube.client import Kube
from slipway.kube.kinds import (
    CONFIG_MAP,
    DEPLOYMENT,
    DESTINATION_RULE,
    HORIZONTAL_POD_AUTOSCALER,
    SERVICE,
    VIRTUAL_SERVICE,
    Kind,
)
from tests.contract.manifests import component, predictor, sdep
from tests.controller.conftest import NAMESPACE, Platform
from tests.waiting import eventually

NAME = "iris-main-0-clf"
HPA = {"minReplicas": 1, "maxReplicas": 3, "metrics": []}
CLF = {"name": "clf"}
POD = ("spec", "template", "spec")


def nested(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    for key in reversed(path):
        value = {key: value}
    return value


def apply_entry(fields: dict[str, Any]) -> dict[str, Any]:
    return {"manager": MANAGER, "operation": "Apply", "apiVersion": "apps/v1", "fieldsV1": {"f:spec": fields}}


def entry(manager: str, fields: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {**apply_entry(fields), "manager": manager, "operation": "Update", **more}


def containers(*names: str) -> dict[str, Any]:
    """As managedFields say it: of each named container its image."""
    items = {f'k:{{"name":"{name}"}}': {".": {}, "f:name": {}, "f:image": {}} for name in names}
    return {"f:template": {"f:spec": {"f:containers": items}}}


def deployment(*entries: dict[str, Any]) -> dict[str, Any]:
    meta = {"name": NAME, "uid": "u", "resourceVersion": "7", "managedFields": list(entries)}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": {}}


@pytest.mark.parametrize(
    "other",
    [
        entry("kube-controller-manager", {"f:replicas": {}}, subresource="scale"),
        entry("kubectl-edit", {"f:replicas": {}, "f:paused": {}}),
        entry("kubectl-rollout", {"f:template": {"f:metadata": {"f:annotations": {"f:a": {}}}}}),
        entry("kubectl-set", containers("clf")),
        entry(MANAGER, containers("webhook")),
        entry("odd", {"f:template": []}),
    ],
    ids=["autoscaler", "by hand", "restart", "of both", "admission under our name", "no fields"],
)
def test_what_others_may_write_is_not_foreign(other: dict[str, Any]) -> None:
    obj = deployment(apply_entry(containers("clf")), other)
    assert foreign_entries(obj) == []
    assert first_foreign(obj) is None
    assert taken_over(obj) is None


def test_foreign_field_is_named_with_its_manager_and_all_else_of_managers_is_forgotten() -> None:
    ours, theirs = apply_entry(containers("clf")), entry("kubectl-edit", {**containers("clf", "side"), "f:paused": {}})
    kept = slim(deployment(ours, theirs))
    assert kept["metadata"]["managedFields"] == [ours, {**theirs, "fieldsV1": {"f:spec": containers("side")}}]
    assert first_foreign(kept) == 'spec.template.spec.containers[name="side"] of kubectl-edit is taken away'
    assert slim({**deployment(ours), "kind": "Pod"})["metadata"].keys() == {"name", "uid", "resourceVersion"}


def test_taken_over_fields_are_ours_and_the_others_keep_the_rest() -> None:
    status = entry("runner", {"f:replicas": {}}, subresource="status")
    theirs = entry("kubectl-edit", {**containers("clf", "side"), "f:paused": {}})
    of_another_version = {**apply_entry({"f:replicas": {}}), "apiVersion": "apps/v1beta1"}
    patch = taken_over(deployment(apply_entry(containers("clf")), theirs, of_another_version, status))
    assert patch is not None
    assert patch["metadata"] == {
        "uid": "u",
        "resourceVersion": "7",
        "annotations": {APPLIED: None},
        "managedFields": [
            apply_entry(containers("clf", "side")),
            entry("kubectl-edit", {**containers("clf"), "f:paused": {}}),
            of_another_version,
            status,
        ],
    }


def test_controller_that_ends_before_its_apply_finds_something_to_do() -> None:
    """Nothing is foreign then; what is left of the last apply is the digest that is gone."""
    wanted = {**deployment(), "metadata": {"name": NAME, "annotations": {}}, "spec": {"a": 1}}
    found = stamped(wanted)
    assert changes([wanted], {("Deployment", NAME): found}) == ([], [])
    del found["metadata"]["annotations"][APPLIED]
    (step,), held = changes([wanted], {("Deployment", NAME): found})
    assert (step.verb, held) == ("Update", [])


def test_object_that_was_never_applied_is_applied_first() -> None:
    obj = deployment(entry("manager", containers("clf")))
    assert first_foreign(obj) is not None
    assert taken_over(obj) is None


async def made(platform: Platform, **more: Any) -> None:
    """Available, with everything that the edits of this file are about."""
    await platform.apply(sdep(predictor(componentSpecs=[{**component("clf"), **more}])))
    await eventually(lambda: there(platform), what=NAME)
    await platform.make_ready(NAME)
    await platform.until(lambda status: status["state"] == "Available", what="Available")


async def there(platform: Platform) -> bool:
    return NAME in await platform.names(DEPLOYMENT)


EDITS: list[tuple[Kind, str, dict[str, Any]]] = [
    (DEPLOYMENT, NAME, nested(POD, {"containers": [{**CLF, "env": [{"name": "A", "value": "b"}]}]})),
    (DEPLOYMENT, NAME, nested(POD, {"containers": [{**CLF, "resources": {"limits": {"memory": "1Gi"}}}]})),
    (DEPLOYMENT, NAME, nested(POD, {"containers": [{"name": "side", "image": "side:1"}]})),
    (DEPLOYMENT, NAME, nested(POD, {"volumes": [{"name": "more", "emptyDir": {}}], "nodeSelector": {"a": "b"}})),
    (SERVICE, "iris-main", {"spec": {"ports": [{"name": "more", "port": 9, "protocol": "TCP"}]}}),
    (SERVICE, "iris-main", {"spec": {"selector": {"a": "b"}}}),
    (CONFIG_MAP, f"{NAME}-graph", {"data": {"more": "1"}}),
    (DESTINATION_RULE, "iris-main", {"spec": {"trafficPolicy": {"outlierDetection": {"consecutive5xxErrors": 1}}}}),
    (VIRTUAL_SERVICE, "iris", {"spec": {"tcp": [], "http": [{"route": [{"destination": {"host": "iris-main"}}]}]}}),
    (HORIZONTAL_POD_AUTOSCALER, NAME, {"spec": {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 1}}}}),
]


@pytest.mark.parametrize(("kind", "name", "edit"), EDITS, ids=lambda item: getattr(item, "kind", None))
async def test_hand_edit_of_what_the_seldon_deployment_says_is_set_back(
    platform: Platform, kind: Kind, name: str, edit: dict[str, Any]
) -> None:
    await made(platform, hpaSpec=HPA)
    before = await platform.kube.get(kind, name, namespace=NAMESPACE)
    way = "merge" if kind in (DESTINATION_RULE, VIRTUAL_SERVICE) else "strategic"
    edited = await platform.kube.patch(kind, name, edit, type=way, namespace=NAMESPACE, field_manager="kubectl-edit")
    assert content(edited) != content(before)

    async def is_back() -> bool:
        found = await platform.kube.get(kind, name, namespace=NAMESPACE)
        return (
            content(found) == content(before) and found["metadata"]["annotations"] == before["metadata"]["annotations"]
        )

    await eventually(is_back, what=f"{kind.kind} {name} as it was")
    found = await platform.kube.get(kind, name, namespace=NAMESPACE)
    assert found["metadata"]["uid"] == before["metadata"]["uid"]
    assert first_foreign(found) is None


def content(obj: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in obj.items() if key not in ("metadata", "status")}


async def test_what_others_may_write_stays_through_the_next_change(platform: Platform) -> None:
    await made(platform, hpaSpec=HPA)
    restarted = {"kubectl.kubernetes.io/restartedAt": "2026-11-22T12:00:00Z"}
    edits: list[tuple[Kind, str, dict[str, Any]]] = [
        (DEPLOYMENT, NAME, {"spec": {"paused": True, "template": {"metadata": {"annotations": restarted}}}}),
        (DEPLOYMENT, NAME, {"metadata": {"labels": {"team": "a"}, "annotations": {"note": "mine"}}}),
        (SERVICE, "iris-main", {"spec": {"publishNotReadyAddresses": True}}),
    ]
    for kind, name, edit in edits:
        await platform.kube.patch(kind, name, edit, type="strategic", namespace=NAMESPACE, field_manager="kubectl")
    scale = {"spec": {"replicas": 3}}
    await platform.kube.patch(DEPLOYMENT, NAME, scale, type="merge", namespace=NAMESPACE, subresource="scale")
    spec = {"spec": {"containers": [{**CLF, "image": "clf:2"}]}, "hpaSpec": HPA}
    await platform.apply(sdep(predictor(componentSpecs=[spec])))

    async def is_changed() -> dict[str, Any] | None:
        found = await platform.kube.get(DEPLOYMENT, NAME, namespace=NAMESPACE)
        return found if found["spec"]["template"]["spec"]["containers"][0]["image"] == "clf:2" else None

    found = await eventually(is_changed, what="the new image")
    service = await platform.kube.get(SERVICE, "iris-main", namespace=NAMESPACE)
    assert (found["spec"]["paused"], found["spec"]["replicas"]) == (True, 3)
    assert restarted.items() <= found["spec"]["template"]["metadata"]["annotations"].items()
    assert (found["metadata"]["labels"]["team"], found["metadata"]["annotations"]["note"]) == ("a", "mine")
    assert service["spec"]["publishNotReadyAddresses"] is True


async def test_hand_edit_that_is_set_back_is_told_once_and_starts_no_quarrel(platform: Platform) -> None:
    await made(platform)
    kind, name, edit = EDITS[0]
    await platform.kube.patch(kind, name, edit, type="strategic", namespace=NAMESPACE, field_manager="kubectl-set")
    event = await eventually(lambda: platform.event("UpdateDeployment"), what="the event")
    where = 'spec.template.spec.containers[name="clf"].env[name="A"]'
    assert event["message"] == f"Updated Deployment {NAME}: {where} of kubectl-set is taken away"
    await platform.make_ready(NAME)
    await platform.apply(sdep(predictor(traffic=100)))
    await eventually(lambda: platform.event("UpdateVirtualService"), what="a later look at everything")
    assert (await platform.events())["UpdateDeployment"] == 1


async def test_container_that_somebody_edits_in_the_moment_it_is_taken_away_goes(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left of it would be a container without an image, which no API takes."""
    await made(platform)
    apply, edits = Kube.apply, []
    edit = nested(POD, {"containers": [{"name": "seldon-container-engine", "env": [{"name": "A", "value": "b"}]}]})

    async def apply_overtaken(kube: Kube, obj: dict[str, Any], **more: Any) -> dict[str, Any]:
        if (obj["kind"], obj["metadata"]["name"]) == ("Deployment", NAME) and not edits:
            edits.append(edit)
            await kube.patch(DEPLOYMENT, NAME, edit, type="strategic", namespace=NAMESPACE, field_manager="kubectl-set")
        return await apply(kube, obj, **more)

    monkeypatch.setattr(Kube, "apply", apply_overtaken)
    separate = {"seldon.io/engine-separate-pod": "true"}
    await platform.apply(sdep(predictor(componentSpecs=[component("clf")]), annotations=separate))

    async def is_gone() -> bool:
        found = await platform.kube.get(DEPLOYMENT, NAME, namespace=NAMESPACE)
        return [item["name"] for item in found["spec"]["template"]["spec"]["containers"]] == ["clf"]

    await eventually(is_gone, what="the container's end")
    await platform.until(lambda status: status["state"] == "Creating", what="a status of this generation")
    assert edits == [edit]
    assert "InternalError" not in await platform.events(), "nothing was refused"
