"""Deployments, ReplicaSets, Jobs and Services that Kubernetes refuses are refused: 422, at its fields, in its words."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from slipway.onebox.api.admission import review_seldon_deployment
from tests.onebox_api.inside import send

Object = dict[str, Any]
DEPLOYMENTS, REPLICA_SETS = ("/apis/apps/v1/namespaces/default/" + kind for kind in ("deployments", "replicasets"))
JOBS, SERVICES = "/apis/batch/v1/namespaces/default/jobs", "/api/v1/namespaces/default/services"
CONTAINERS = [{"name": "c", "image": "x:1"}]


def workload(pod: Object | None = None, labels: Object | None = None, **spec: Any) -> Object:
    template = {"metadata": {"labels": {"a": "b", **(labels or {})}}, "spec": {"containers": CONTAINERS, **(pod or {})}}
    return {"metadata": {"name": "w"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template, **spec}}


def rolling(**bounds: Any) -> Object:
    return workload(strategy={"rollingUpdate": bounds})


def job(pod: Object | None = None, **spec: Any) -> Object:
    template = {"spec": {"restartPolicy": "Never", "containers": CONTAINERS, **(pod or {})}}
    return {"metadata": {"name": "j"}, "spec": {"template": template, **spec}}


def service(*ports: Object, **spec: Any) -> Object:
    return {"metadata": {"name": "s"}, "spec": {"selector": {"a": "b"}, "ports": list(ports), **spec}}


BROKEN: list[tuple[str, Object, str, str]] = [
    (DEPLOYMENTS, workload(strategy={"type": "Bogus"}), "spec.strategy.type", 'supported values: "Recreate", "Rolling'),
    (
        DEPLOYMENTS,
        workload(strategy={"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}),
        "spec.strategy.rollingUpdate",
        "Forbidden: may not be specified when strategy `type` is 'Recreate'",
    ),
    (
        DEPLOYMENTS,
        rolling(maxSurge=0, maxUnavailable=0),
        "spec.strategy.rollingUpdate.maxUnavailable",
        "Invalid value: 0: may not be 0 when `maxSurge` is 0",
    ),
    (
        DEPLOYMENTS,
        rolling(maxSurge="0%", maxUnavailable="00%"),
        "spec.strategy.rollingUpdate.maxUnavailable",
        "may not be 0",
    ),
    (DEPLOYMENTS, rolling(maxSurge="abc"), "spec.strategy.rollingUpdate.maxSurge", "a valid percent string must be"),
    (DEPLOYMENTS, rolling(maxSurge=-1), "spec.strategy.rollingUpdate.maxSurge", "greater than or equal to 0"),
    (DEPLOYMENTS, rolling(maxUnavailable="150%"), "spec.strategy.rollingUpdate.maxUnavailable", "greater than 100%"),
    (
        DEPLOYMENTS,
        rolling(maxUnavailable="9" * 9999 + "%"),
        "spec.strategy.rollingUpdate.maxUnavailable",
        "greater than 100%",
    ),
    (DEPLOYMENTS, workload(minReadySeconds=-5), "spec.minReadySeconds", "Invalid value: -5: must be greater than or"),
    (DEPLOYMENTS, workload(minReadySeconds=600), "spec.progressDeadlineSeconds", "600: must be greater than minReady"),
    (DEPLOYMENTS, workload(revisionHistoryLimit=-1), "spec.revisionHistoryLimit", "greater than or equal to 0"),
    (
        DEPLOYMENTS,
        workload({"restartPolicy": "Never"}),
        "spec.template.spec.restartPolicy",
        'Unsupported value: "Never": supported values: "Always"',
    ),
    (
        REPLICA_SETS,
        workload({"restartPolicy": "OnFailure"}),
        "spec.template.spec.restartPolicy",
        'Unsupported value: "OnFailure": supported values: "Always"',
    ),
    (
        REPLICA_SETS,
        workload({"activeDeadlineSeconds": 5}),
        "spec.template.spec.activeDeadlineSeconds",
        "activeDeadlineSeconds in ReplicaSet is not Supported",
    ),
    (REPLICA_SETS, workload(minReadySeconds=-1), "spec.minReadySeconds", "greater than or equal to 0"),
    (
        DEPLOYMENTS,
        workload(labels={"b": "in valid"}),
        "spec.template.labels",
        'Invalid value: "in valid": a valid label',
    ),
    (JOBS, job(parallelism=-1), "spec.parallelism", "greater than or equal to 0"),
    (JOBS, job(completions=-1), "spec.completions", "greater than or equal to 0"),
    (JOBS, job(backoffLimit=-1), "spec.backoffLimit", "greater than or equal to 0"),
    (JOBS, job(activeDeadlineSeconds=-1), "spec.activeDeadlineSeconds", "Invalid value: -1: must be greater than or"),
    (JOBS, job(ttlSecondsAfterFinished=-1), "spec.ttlSecondsAfterFinished", "greater than or equal to 0"),
    (JOBS, job(completionMode="Some"), "spec.completionMode", 'supported values: "NonIndexed", "Indexed"'),
    (JOBS, job({"restartPolicy": "Always"}), "spec.template.spec.restartPolicy", 'supported values: "OnFailure", "Nev'),
    (
        SERVICES,
        service({"name": "a", "port": 80}, {"name": "b", "port": 80}),
        "spec.ports[1]",
        'Duplicate value: core.ServicePort{Name:"", Protocol:"TCP"',
    ),
    (
        SERVICES,
        service({"name": "a", "port": 1}, {"name": "a", "port": 2}),
        "spec.ports[1].name",
        'Duplicate value: "a"',
    ),
    (
        SERVICES,
        service({"port": 80, "protocol": "ZZZ"}),
        "spec.ports[0].protocol",
        'Unsupported value: "ZZZ": supported values: "SCTP", "TCP", "UDP"',
    ),
    (SERVICES, service({"port": 80, "targetPort": 99999}), "spec.ports[0].targetPort", "must be between 1 and 65535"),
    (
        SERVICES,
        service({"port": 80, "targetPort": "x y"}),
        "spec.ports[0].targetPort",
        "must contain only alpha-numeric",
    ),
    (SERVICES, service({"port": 80, "name": "Foo_Bar"}), "spec.ports[0].name", "a lowercase RFC 1123 label"),
    (
        SERVICES,
        service({"port": 80}, type="Bogus"),
        "spec.type",
        'supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"',
    ),
    (
        SERVICES,
        service({"port": 80}, sessionAffinity="x"),
        "spec.sessionAffinity",
        'supported values: "ClientIP", "None"',
    ),
]


@pytest.mark.parametrize(("path", "body", "field", "words"), BROKEN)
async def test_object_that_could_not_be_carried_out_is_refused_as_kubernetes_refuses_it(
    path: str, body: Object, field: str, words: str, http: aiohttp.ClientSession
) -> None:
    status, answer = await send(http, "POST", path, body)
    assert (status, answer["reason"]) == (422, "Invalid"), answer
    assert [cause["field"] for cause in answer["details"]["causes"]] == [field]
    assert words in answer["message"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (DEPLOYMENTS, rolling(maxSurge="150%", maxUnavailable="100%")),
        (DEPLOYMENTS, rolling(maxSurge=0, maxUnavailable=500)),
        (DEPLOYMENTS, workload(strategy={"type": "Recreate"}, minReadySeconds=599, replicas=2**31 - 1)),
        (REPLICA_SETS, workload({"restartPolicy": "Always"}, {"example.org/team": ""}, minReadySeconds=9)),
        (JOBS, job({"activeDeadlineSeconds": 5}, parallelism=10**9, completions=10**9, backoffLimit=0)),
        (JOBS, job(completionMode="Indexed", completions=3, ttlSecondsAfterFinished=0)),
        (
            SERVICES,
            service({"name": "a", "port": 53}, {"name": "b", "port": 53, "protocol": "UDP", "targetPort": "dns"}),
        ),
        (SERVICES, service({"port": 80, "targetPort": 0}, type="NodePort", sessionAffinity="ClientIP")),
    ],
)
async def test_object_that_kubernetes_takes_is_taken(path: str, body: Object, http: aiohttp.ClientSession) -> None:
    status, answer = await send(http, "POST", path, body)
    assert status == 201, answer


async def test_rollout_without_progress_is_refused_of_a_patch_too(http: aiohttp.ClientSession) -> None:
    assert (await send(http, "POST", DEPLOYMENTS, workload()))[0] == 201
    patch = {"spec": {"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}}}
    headers = {"Content-Type": "application/merge-patch+json"}
    status, answer = await send(http, "PATCH", f"{DEPLOYMENTS}/w", patch, headers=headers)
    assert (status, answer["details"]["causes"][0]["reason"]) == (422, "FieldValueInvalid")


def test_seldon_deployment_is_refused_at_the_fields_of_its_pods() -> None:
    pod = {"restartPolicy": "Never", "containers": [{"name": "m", "image": "x:1", "env": [{"name": "A=B"}]}]}
    spec = {"predictors": [{"name": "p", "graph": {"name": "m", "type": "MODEL"}, "componentSpecs": [{"spec": pod}]}]}
    group = "machinelearning.seldon.io/v1"
    body = {"apiVersion": group, "kind": "SeldonDeployment", "metadata": {"name": "s"}, "spec": spec}
    place = "spec.predictors[0].componentSpecs[0].spec"
    assert [(cause.field, cause.reason) for cause in review_seldon_deployment(body)] == [
        (f"{place}.containers[0].env[0].name", "FieldValueInvalid"),
        (f"{place}.restartPolicy", "FieldValueNotSupported"),
    ]
