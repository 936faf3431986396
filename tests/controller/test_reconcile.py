"""The loop against the real API of one machine (behaviour 69 and what the design promises over time)."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.contract.sdep import SeldonDeployment
from slipway.controller.autoscaling import refused_autoscaling
from slipway.controller.settings import Settings
from slipway.kube.errors import Invalid, NotFound
from slipway.kube.kinds import (
    CONFIG_MAP,
    DEPLOYMENT,
    DESTINATION_RULE,
    POD,
    SECRET,
    SELDON_DEPLOYMENT,
    SERVICE,
    VIRTUAL_SERVICE,
)
from slipway.kube.kinds import (
    NAMESPACE as NAMESPACES,
)
from tests.contract.manifests import component, node, predictor, sdep
from tests.controller.conftest import NAMESPACE, Platform
from tests.waiting import eventually

IRIS = "iris-main-0-clf"
ALIAS = node(modelUri="models:/shapes@champion")


def weights(virtual_service: dict[str, Any]) -> list[int]:
    return [item["weight"] for item in virtual_service["spec"]["http"][-1]["route"]]


async def available(platform: Platform, *names: str) -> dict[str, Any]:
    for name in names:
        await eventually(lambda name=name: present(platform, name), what=name)
        await platform.make_ready(name)
    return await platform.until(lambda status: status["state"] == "Available", what="Available")


async def present(platform: Platform, name: str) -> bool:
    return name in await platform.names(DEPLOYMENT)


async def split(platform: Platform) -> list[int]:
    return weights(await platform.kube.get(VIRTUAL_SERVICE, "iris", namespace=NAMESPACE))


async def test_row_69_default_deployment_has_its_events_once_and_all_conditions_when_ready(platform):
    await platform.apply(sdep())
    await platform.until(lambda status: status["state"] == "Creating", what="Creating")
    status = await available(platform, IRIS)
    assert {item["type"]: item["status"] for item in status["conditions"]} == dict.fromkeys(
        [
            "AmbassadorMappingsReady",
            "DeploymentsReady",
            "HpasReady",
            "KedaReady",
            "PdbsReady",
            "Ready",
            "ServicesReady",
            "istioVirtualServicesReady",
        ],
        "True",
    )
    assert status["address"]["url"] == "http://iris-main.team.svc.cluster.local:8000/api/v1.0/predictions"
    assert status["replicas"] == 1
    events = await platform.events()
    assert (events["CreateService"], events["CreateDeployment"], events["CreateVirtualService"]) == (2, 1, 1)
    assert not [reason for reason in events if reason.startswith("UpdateD")]


async def test_fields_without_effect_are_events(platform):
    await platform.apply(sdep(oauth_key="k"))
    await platform.until(lambda status: status["state"] == "Creating", what="Creating")
    await eventually(lambda: platform.event("NoEffect"), what="the event, which is written after the status")
    assert (await platform.events())["NoEffect"] == 1


async def test_percentages_are_written_while_the_registry_is_away(platform):
    two = [predictor("a", graph=ALIAS, traffic=90), predictor("b", traffic=10)]
    await platform.apply(sdep(*two))
    await available(platform, "iris-a-0-clf", "iris-b-0-clf")
    platform.registry.is_away = True
    two[1] = predictor("b", graph=node(modelUri="models:/shapes/9"), traffic=0)
    await platform.apply(sdep({**two[0], "traffic": 100}, two[1]))
    status = await platform.until(lambda status: status["state"] == "Failed", what="Failed")
    assert "503" in status["description"]
    assert await split(platform) == [100, 0]


async def test_alias_is_resolved_once_and_survives_a_restart_without_the_registry(platform):
    await platform.apply(sdep(predictor(graph=ALIAS)))
    status = await available(platform, IRIS)
    (model,) = status["models"]
    assert (model["name"], model["version"], model["alias"]) == ("shapes", "1", "champion")
    assert model["digest"] == f"sha256:{'1' * 64}"
    assert platform.registry.asked == ["alias", "get-download-uri"]
    platform.registry.is_away = True
    platform.registry.aliases["champion"] = "2"
    await platform.restart()
    await platform.apply(sdep(predictor(graph=ALIAS, replicas=2)))
    status = await platform.until(lambda status: status["state"] == "Creating", what="the new generation")
    assert status["models"] == [model]
    assert len(platform.registry.asked) == 2, "more replicas run what the first ones run"


async def test_edited_predictor_takes_the_moved_alias(platform):
    await platform.apply(sdep(predictor(graph=ALIAS)))
    await available(platform, IRIS)
    platform.registry.aliases["champion"] = "2"
    await platform.apply(sdep(predictor(graph={**ALIAS, "parameters": [{"name": "n", "value": "1", "type": "INT"}]})))
    status = await platform.until(lambda status: status["models"][0]["version"] == "2", what="version 2")
    assert status["models"][0]["source"] == "s3://models/shapes/2"


async def test_unknown_alias_is_failed_with_its_name(platform):
    await platform.apply(sdep(predictor(graph=node(modelUri="models:/shapes@nobody"))))
    status = await platform.until(lambda status: status["state"] == "Failed", what="Failed")
    assert "models:/shapes@nobody" in status["description"]
    await eventually(lambda: platform.event("ModelNotResolved"), what="the event, which is written after the status")
    assert (await platform.events())["ModelNotResolved"] == 1
    assert await platform.names(DEPLOYMENT) == []


async def test_what_the_api_refuses_is_failed_with_its_sentence(platform):
    twice = [{"name": "a", "containerPort": 7}, {"name": "b", "containerPort": 7}]
    spec = {"spec": {"containers": [{"name": "clf", "image": "x:1", "ports": twice}]}}
    await platform.apply(sdep(predictor(componentSpecs=[spec])))
    status = await platform.until(lambda status: status["state"] == "Failed", what="Failed")
    assert "containerPort=7" in status["description"]


async def test_invalid_manifest_is_refused_by_the_api_with_all_causes(platform):
    with pytest.raises(Invalid) as refusal:
        await platform.apply(sdep(predictor("a", traffic=1), predictor("b", graph=node(type="ROUTER"))))
    assert [cause["field"] for cause in refusal.value.causes] == ["spec", "spec.predictors[1].graph"]


async def test_row_73_renamed_container_replaces_the_deployment_when_the_new_one_is_ready(platform):
    await platform.apply(sdep())
    await available(platform, IRIS)
    await platform.apply(sdep(predictor(graph=node("new"), componentSpecs=[component("new")])))
    await eventually(lambda: present(platform, "iris-main-0-new"), what="the new Deployment")
    assert await present(platform, IRIS)
    await available(platform, "iris-main-0-new")

    async def alone() -> bool:
        return await platform.names(DEPLOYMENT) == ["iris-main-0-new"]

    await eventually(alone, what="the old Deployment is gone")
    await eventually(lambda: only_new(platform), what="nothing of the old one is left")
    assert (await platform.events())["DeleteDeployment"] == 1


async def only_new(platform: Platform) -> bool:
    names = await platform.names(CONFIG_MAP) + await platform.names(SERVICE)
    return names == ["iris-main-0-new-graph", "iris-main", "iris-main-new"]


async def test_deleted_dependent_comes_back(platform):
    await platform.apply(sdep())
    await available(platform, IRIS)
    await platform.kube.delete(SERVICE, "iris-main", namespace=NAMESPACE)

    async def back() -> bool:
        return "iris-main" in await platform.names(SERVICE)

    await eventually(back, what="the Service")


async def test_deleted_seldon_deployment_takes_everything_along(platform):
    await platform.apply(sdep())
    await available(platform, IRIS)
    await platform.kube.delete(SELDON_DEPLOYMENT, "iris", namespace=NAMESPACE)

    async def gone() -> bool:
        try:
            await platform.kube.get(SELDON_DEPLOYMENT, "iris", namespace=NAMESPACE)
        except NotFound:
            return True
        return False

    await eventually(gone, what="the SeldonDeployment is gone")

    async def empty() -> bool:
        kinds = (DEPLOYMENT, SERVICE, CONFIG_MAP, VIRTUAL_SERVICE, DESTINATION_RULE)
        return [name for kind in kinds for name in await platform.names(kind)] == []

    await eventually(empty, what="what it owned is collected")


async def test_what_is_somebody_elses_is_never_changed_and_the_status_says_whose_it_is(platform):
    await platform.apply(sdep(predictor("main-x")))
    await available(platform, "iris-main-x-0-clf")
    before = await platform.kube.get(SERVICE, "iris-main-x", namespace=NAMESPACE)
    await platform.apply(sdep(predictor("x"), name="iris-main"))

    async def failed() -> dict[str, Any] | None:
        status = await platform.status("iris-main")
        return status if status.get("state") == "Failed" else None

    status = await eventually(failed, what="Failed")
    assert status["description"].startswith("Service iris-main-x belongs to SeldonDeployment iris: rename")
    await eventually(lambda: platform.event("NameTaken"), what="the event, which is written after the status")
    assert await platform.kube.get(SERVICE, "iris-main-x", namespace=NAMESPACE) == before
    assert await platform.names(VIRTUAL_SERVICE) == ["iris"], "nothing of it is made"


async def test_service_that_a_person_made_is_not_taken_over(platform):
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "iris-main", "namespace": NAMESPACE},
        "spec": {"selector": {"app": "theirs"}, "ports": [{"port": 80}]},
    }
    await platform.kube.create(service)
    await platform.apply(sdep())
    status = await platform.until(lambda status: status["state"] == "Failed", what="Failed")
    assert "Service iris-main is there already and belongs to nobody" in status["description"]
    await platform.kube.delete(SERVICE, "iris-main", namespace=NAMESPACE)


async def test_orphans_of_a_seldon_deployment_of_the_same_name_are_adopted(platform):
    await platform.apply(sdep())
    await available(platform, IRIS)
    before = await platform.kube.get(DEPLOYMENT, IRIS, namespace=NAMESPACE)
    await platform.kube.delete(SELDON_DEPLOYMENT, "iris", namespace=NAMESPACE, propagation="Orphan")

    async def orphaned() -> bool:
        found = await platform.kube.get(DEPLOYMENT, IRIS, namespace=NAMESPACE)
        return not found["metadata"].get("ownerReferences")

    await eventually(orphaned, what="the Deployment is nobody's")
    await platform.apply(sdep())
    await platform.until(lambda status: status["state"], what="a look")
    await available(platform, IRIS)
    after = await platform.kube.get(DEPLOYMENT, IRIS, namespace=NAMESPACE)
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["spec"] == before["spec"]


async def test_model_secret_is_copied_to_where_models_run_and_follows_its_source(platform):
    source = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "slipway-model-storage", "namespace": "slipway-system"},
        "type": "Opaque",
        "data": {"AWS_ACCESS_KEY_ID": "YQ=="},
    }
    await platform.kube.apply(source, field_manager="person")
    await platform.apply(sdep(predictor(graph=node(modelUri="s3://bucket/m"))))
    await available(platform, IRIS)
    copy = await platform.kube.get(SECRET, "slipway-model-storage", namespace=NAMESPACE)
    assert copy["data"] == source["data"]
    await platform.kube.apply({**source, "data": {"AWS_ACCESS_KEY_ID": "Yg=="}}, field_manager="person")

    async def followed() -> bool:
        found = await platform.kube.get(SECRET, "slipway-model-storage", namespace=NAMESPACE)
        return found["data"] == {"AWS_ACCESS_KEY_ID": "Yg=="}

    await eventually(followed, what="the copy has the new key")
    await platform.kube.delete(SELDON_DEPLOYMENT, "iris", namespace=NAMESPACE)
    await platform.kube.delete(SECRET, "slipway-model-storage", namespace=NAMESPACE)  # as with its namespace
    await platform.apply(sdep(predictor(graph=node(modelUri="s3://bucket/m"))))

    async def is_back() -> bool:
        secrets = (await platform.kube.list(SECRET, namespace=NAMESPACE)).items
        return [secret["metadata"]["name"] for secret in secrets] == ["slipway-model-storage"]

    await eventually(is_back, what="the copy for the new SeldonDeployment")


def test_keda_is_refused_where_there_is_none():
    manifest = sdep(predictor(componentSpecs=[component("clf", kedaSpec={"triggers": [{"type": "cron"}]})]))
    (cause,) = refused_autoscaling(SeldonDeployment.from_json(manifest), Settings())
    assert cause.field == "spec.predictors[0].componentSpecs[0].kedaSpec"
    assert not [*refused_autoscaling(SeldonDeployment.from_json(manifest), Settings(has_keda=True))]


async def test_label_edit_reaches_a_running_pod_and_rolls_nothing(platform):
    await platform.apply(sdep(predictor(labels={"team": "a"})))
    await available(platform, IRIS)
    before = await platform.kube.get(DEPLOYMENT, IRIS, namespace=NAMESPACE)
    labels = before["spec"]["template"]["metadata"]["labels"]
    container = {"name": "clf", "image": "x:1"}
    running = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "iris-1", "namespace": NAMESPACE, "labels": labels},
        "spec": {"containers": [container]},
    }
    await platform.kube.create(running)
    await platform.apply(sdep(predictor(labels={"team": "b"})))

    async def labelled() -> bool:
        return (await platform.kube.get(POD, "iris-1", namespace=NAMESPACE))["metadata"]["labels"]["team"] == "b"

    await eventually(labelled, what="the Pod's label")
    after = await platform.kube.get(DEPLOYMENT, IRIS, namespace=NAMESPACE)
    assert after["spec"] == before["spec"]
    assert after["metadata"]["labels"]["team"] == "b"


async def test_value_that_the_api_replaces_is_written_once(platform, monkeypatch):
    plain = platform.kube.apply

    async def mutating(obj: dict[str, Any], **options: Any) -> dict[str, Any]:
        """An admission web hook with an opinion."""
        if obj["kind"] == "Deployment":
            obj = {**obj, "spec": {**obj["spec"], "progressDeadlineSeconds": 99}}
        return await plain(obj, **options)

    monkeypatch.setattr(platform.kube, "apply", mutating)
    await platform.apply(sdep(predictor(progressDeadlineSeconds=100)))
    await available(platform, IRIS)
    deployment = await platform.kube.get(DEPLOYMENT, IRIS, namespace=NAMESPACE)
    assert deployment["spec"]["progressDeadlineSeconds"] == 99
    events = await platform.events()
    assert (events["CreateDeployment"], events.get("UpdateDeployment")) == (1, None)


async def test_misspelt_field_of_a_container_is_failed_with_its_name(platform):
    spec = {"spec": {"containers": [{"name": "clf", "image": "x:1", "imagePullPolice": "Always"}]}}
    await platform.apply(sdep(predictor(componentSpecs=[spec])))
    status = await platform.until(lambda status: status["state"] == "Failed", what="Failed")
    assert "imagePullPolice" in status["description"]


async def test_unready_predictors_share_is_the_others_on_istio_and_its_own_again_when_it_is_ready(platform):
    a, b = "iris-a-0-clf", "iris-b-0-clf"
    await platform.apply(sdep(predictor("a", traffic=90), predictor("b", traffic=10)))
    await available(platform, a, b)
    for made, wanted in (((a, True), [100, 0]), ((b, True), [90, 10]), ((a, False), [0, 100]), ((b, False), [90, 10])):
        await platform.make_pod(made[0], ready=made[1])
        await eventually(lambda wanted=wanted: _is_split(platform, wanted), what=f"{wanted} after {made}")
    status = await platform.until(lambda status: not any(status["traffic"]["effective"].values()), what="none ready")
    assert status["traffic"]["declared"] == {"a": 90, "b": 10}


async def _is_split(platform: Platform, wanted: list[int]) -> bool:
    return await split(platform) == wanted


async def test_object_labelled_for_another_controller_is_left_alone_until_the_label_goes(platform):
    meta = {"name": "iris", "namespace": NAMESPACE}
    body = {**sdep(), "metadata": {**meta, "labels": {"seldon.io/controller-id": "other"}}}
    await platform.kube.apply(body, field_manager="person")
    await platform.apply({**sdep(), "metadata": {"name": "ours"}})
    await eventually(lambda: present(platform, "ours-main-0-clf"), what="the object without a label")
    assert not await present(platform, IRIS)
    assert "status" not in await platform.kube.get(SELDON_DEPLOYMENT, "iris", namespace=NAMESPACE)
    await platform.kube.patch(NAMESPACES, NAMESPACE, OTHERS, type="merge")
    unlabelled = {"metadata": {"labels": {"seldon.io/controller-id": None}}}
    await platform.kube.patch(SELDON_DEPLOYMENT, "iris", unlabelled, type="merge", namespace=NAMESPACE)
    await platform.kube.delete(DEPLOYMENT, "ours-main-0-clf", namespace=NAMESPACE)
    await platform.kube.patch(NAMESPACES, NAMESPACE, {"metadata": {"labels": None}}, type="merge")
    for name in (IRIS, "ours-main-0-clf"):
        await eventually(lambda name=name: present(platform, name), what=name)


OTHERS = {"metadata": {"labels": {"seldon.io/controller-id": "other"}}}
