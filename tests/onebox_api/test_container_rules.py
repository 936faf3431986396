"""What the API refuses of a container, so that no follower has to read it."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from tests.onebox_api.inside import send

PODS = "/api/v1/namespaces/default/pods"
MERGE = {"Content-Type": "application/merge-patch+json"}


def pod(**container: Any) -> dict[str, Any]:
    spec = {"containers": [{"name": "c", "image": "x:1", **container}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec}


def ports(*given: dict[str, Any]) -> dict[str, Any]:
    return {"ports": list(given)}


def resources(**given: Any) -> dict[str, Any]:
    return {"resources": given}


@pytest.mark.parametrize(
    ("container", "field", "message"),
    [
        (ports({"name": "metrics"}), "ports[0].containerPort", "Required value"),
        (ports({"containerPort": 0}), "ports[0].containerPort", "Required value"),
        (ports({"containerPort": -1}), "ports[0].containerPort", "must be between 1 and 65535, inclusive"),
        (ports({"containerPort": 65536}), "ports[0].containerPort", "must be between 1 and 65535, inclusive"),
        (ports({"containerPort": 1, "hostPort": 65536}), "ports[0].hostPort", "must be between 1 and 65535"),
        (ports({"containerPort": 1, "protocol": "tcp"}), "ports[0].protocol", 'Unsupported value: "tcp"'),
        (ports({"containerPort": 1, "name": "a" * 16}), "ports[0].name", "must be no more than 15 characters"),
        (ports({"containerPort": 1, "name": "a_b"}), "ports[0].name", "must contain only alpha-numeric"),
        (
            ports({"containerPort": 1, "name": "a"}, {"containerPort": 2, "name": "a"}),
            "ports[1].name",
            'Duplicate value: "a"',
        ),
        (resources(requests={"cpu": "-1"}), "resources.requests[cpu]", "must be greater than or equal to 0"),
        (
            resources(limits={"memory": "1Ki"}, requests={"memory": "1Mi"}),
            "resources.requests",
            "must be less than or equal to memory limit of 1Ki",
        ),
    ],
)
async def test_container_that_could_not_be_is_refused_as_kubernetes_refuses_it(
    container: dict[str, Any], field: str, message: str, http: aiohttp.ClientSession
) -> None:
    status, answer = await send(http, "POST", PODS, pod(**container))
    assert status == 422, answer
    assert [cause["field"] for cause in answer["details"]["causes"]] == [f"spec.containers[0].{field}"]
    assert message in answer["message"]


async def test_template_of_a_deployment_is_read_as_a_pod(http: aiohttp.ClientSession) -> None:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": pod(**ports({"name": "metrics"}))["spec"]}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": spec}
    status, answer = await send(http, "POST", "/apis/apps/v1/namespaces/default/deployments", body)
    assert (status, answer["details"]["causes"][0]["field"]) == (
        422,
        "spec.template.spec.containers[0].ports[0].containerPort",
    )


async def test_container_that_can_be_is_taken(http: aiohttp.ClientSession) -> None:
    given = {
        **ports({"containerPort": 65535, "name": "http-2"}, {"containerPort": 53, "protocol": "UDP"}),
        **resources(limits={"cpu": 1, "memory": "1Gi"}, requests={"cpu": "1", "memory": "1e3"}),
    }
    assert (await send(http, "POST", PODS, pod(**given)))[0] == 201


@pytest.mark.parametrize("value", ["abc", "", "1 Gi", "1KiB"])
async def test_quantity_that_is_none_is_refused(value: str, http: aiohttp.ClientSession) -> None:
    status, answer = await send(http, "POST", PODS, pod(**resources(limits={"memory": value})))
    assert (status, "quantities must match the regular expression" in answer["message"]) == (400, True)


@pytest.mark.parametrize("value", ["soon", "", "2026-01-01", "2026-02-30T00:00:00Z", "2026-01-01T00:00:00"])
async def test_time_that_is_none_is_refused_in_a_status_too(value: str, http: aiohttp.ClientSession) -> None:
    await send(http, "POST", PODS, pod())
    patch = {"status": {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": value}]}}
    status, answer = await send(http, "PATCH", f"{PODS}/p/status", patch, headers=MERGE)
    assert (status, f'parsing time "{value}"' in answer["message"]) == (422, True)  # of a patch; of a whole object 400


async def test_condition_without_a_type_is_shown_with_an_empty_one(http: aiohttp.ClientSession) -> None:
    """Go prints what it requires: whoever reads it by its name finds it."""
    await send(http, "POST", PODS, pod())
    patch = {"status": {"conditions": [{"status": "True"}]}}
    status, answer = await send(http, "PATCH", f"{PODS}/p/status", patch, headers=MERGE)
    assert (status, answer["status"]["conditions"][0]["type"]) == (200, "")
