"""kubectl's typed commands, which send protobuf, work against the API."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.onebox_api.conftest import ApiProcess

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")


def read(api: ApiProcess, *what: str) -> dict[str, object]:
    value: dict[str, object] = json.loads(api.kubectl("get", *what, "-o", "json"))
    return value


def test_create_namespace_and_what_lives_in_it(api: ApiProcess) -> None:
    assert "namespace/team-a created" in api.kubectl("create", "namespace", "team-a")
    assert "created" in api.kubectl("create", "configmap", "settings", "--from-literal=a=ä b", "-n", "team-a")
    assert read(api, "configmap", "settings", "-n", "team-a")["data"] == {"a": "ä b"}
    assert "created" in api.kubectl("create", "secret", "generic", "key", "--from-literal=k=v", "-n", "team-a")
    assert read(api, "secret", "key", "-n", "team-a")["data"] == {"k": "dg=="}
    assert "created" in api.kubectl("create", "serviceaccount", "robot", "-n", "team-a")
    assert "already exists" in api.kubectl("create", "namespace", "team-a", check=False)


def test_create_deployment_is_the_object_that_its_dry_run_prints(api: ApiProcess) -> None:
    command = [
        "create",
        "deployment",
        "web",
        "--image=slipway/yolo:1",
        "--replicas=2",
        "--port=80",
        "--",
        "serve",
        "-v",
    ]
    printed = api.kubectl(*command[:-3], "--dry-run=client", "-o", "json", *command[-3:])
    assert "created" in api.kubectl(*command)
    made = read(api, "deployment", "web")
    api.kubectl("delete", "deployment", "web")
    api.kubectl("create", "-f", "-", stdin=printed)  # as JSON
    assert made["spec"] == read(api, "deployment", "web")["spec"]


def test_create_of_other_kinds(api: ApiProcess) -> None:
    api.kubectl("create", "job", "once", "--image=slipway/yolo:1", "--", "run")
    assert read(api, "job", "once")["spec"]["template"]["spec"]["restartPolicy"] == "Never"  # type: ignore[index]
    api.kubectl("create", "service", "clusterip", "front", "--tcp=80:8080")
    ports = read(api, "service", "front")["spec"]["ports"]  # type: ignore[index]
    assert ports == [{"name": "80-8080", "port": 80, "protocol": "TCP", "targetPort": 8080}]
    api.kubectl("create", "role", "reader", "--verb=get,list", "--resource=configmaps")
    api.kubectl("create", "rolebinding", "reads", "--role=reader", "--serviceaccount=default:robot")
    assert read(api, "rolebinding", "reads")["roleRef"]["name"] == "reader"  # type: ignore[index]
    api.kubectl("create", "poddisruptionbudget", "pdb", "--selector=app=web", "--min-available=50%")
    assert read(api, "pdb", "pdb")["spec"]["minAvailable"] == "50%"  # type: ignore[index]


def test_autoscale_makes_an_autoscaler_that_both_versions_show(api: ApiProcess) -> None:
    api.kubectl("create", "deployment", "web", "--image=slipway/yolo:1")
    assert "autoscaled" in api.kubectl("autoscale", "deployment", "web", "--max=3", "--cpu-percent=60")
    target = {"type": "Utilization", "averageUtilization": 60}
    spec = read(api, "horizontalpodautoscalers.v2.autoscaling", "web")["spec"]
    assert spec["metrics"] == [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]  # type: ignore[index]
    spec = read(api, "horizontalpodautoscalers.v1.autoscaling", "web")["spec"]
    assert spec["targetCPUUtilizationPercentage"] == 60  # type: ignore[index]


def test_what_is_not_here_is_said_as_the_document_says(api: ApiProcess) -> None:
    assert "Metrics API not available" in api.kubectl("top", "pods", check=False)
    assert "No resources found" in api.kubectl("get", "endpoints")


def test_auth_questions_are_answered(api: ApiProcess) -> None:
    assert api.kubectl("auth", "can-i", "create", "sdep").startswith("yes")
    assert "slipway:admin" in api.kubectl("auth", "whoami")
    assert "selfsubjectaccessreviews" in api.kubectl("auth", "can-i", "--list")


def test_a_kind_that_is_not_read_from_protobuf_is_refused_with_what_works(api: ApiProcess) -> None:
    api.kubectl("create", "deployment", "web", "--image=slipway/yolo:1")
    answer = api.kubectl("create", "quota", "q", "--hard=cpu=1", check=False)
    assert "the server could not find the requested resource" in answer
