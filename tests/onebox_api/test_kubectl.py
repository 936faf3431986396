"""Plain kubectl works against the API."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.onebox_api.conftest import ApiProcess

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")

SDEP = """
apiVersion: machinelearning.seldon.io/v1
kind: SeldonDeployment
metadata: {name: yolo}
spec:
  predictors:
  - name: stable
    traffic: 90
    graph: {name: m, type: MODEL}
    componentSpecs: [{spec: {containers: [{name: m, image: "slipway/yolo:1"}]}}]
  - name: canary
    traffic: 10
    graph: {name: m, type: MODEL}
    componentSpecs: [{spec: {containers: [{name: m, image: "slipway/yolo:2"}]}}]
"""
STATUS = json.dumps({"status": {"split": "stable 80, canary 20"}})
"""As a controller writes it."""
DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  selector: {matchLabels: {app: web}}
  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c, image: "x:1"}]}}
"""
POD = """
apiVersion: v1
kind: Pod
metadata: {name: p}
spec: {containers: [{name: c, image: "x:1"}]}
"""


def test_apply_creates_then_changes_nothing(api: ApiProcess) -> None:
    assert "created" in api.kubectl("apply", "-f", "-", stdin=SDEP)
    assert "unchanged" in api.kubectl("apply", "-f", "-", stdin=SDEP)
    assert "serverside-applied" in api.kubectl(
        "apply", "--server-side", "--force-conflicts", "-f", "-", stdin=SDEP.replace("90", "80").replace("10", "20")
    )
    api.kubectl("patch", "sdep", "yolo", "--subresource", "status", "--type", "merge", "-p", STATUS)
    table = api.kubectl("get", "sdep")
    assert table.split()[:5] == ["NAME", "STATE", "REPLICAS", "TRAFFIC", "AGE"]
    assert "stable 80, canary 20" in table


def test_apply_of_a_bad_seldon_deployment_names_every_violation(api: ApiProcess) -> None:
    bad = SDEP.replace("traffic: 10", "traffic: 20").replace("name: canary", "name: stable")
    answer = api.kubectl("apply", "-f", "-", stdin=bad, check=False)
    assert "is invalid" in answer
    assert answer.count("* spec") >= 2


def test_apply_of_an_unknown_field_is_refused_by_name(api: ApiProcess) -> None:
    answer = api.kubectl("apply", "-f", "-", stdin=SDEP.replace("traffic: 90", "traficc: 90"), check=False)
    assert 'unknown field "spec.predictors[0].traficc"' in answer


def test_edit_changes_the_percentages(api: ApiProcess, tmp_path: Path) -> None:
    api.kubectl("apply", "-f", "-", stdin=SDEP)
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\nsed -i -e 's/traffic: 90/traffic: 50/' -e 's/traffic: 10/traffic: 50/' \"$1\"\n")
    editor.chmod(0o755)
    assert "edited" in api.kubectl("edit", "sdep", "yolo", EDITOR=str(editor))
    assert api.kubectl("get", "sdep", "yolo", "-o", "jsonpath={.spec.predictors[*].traffic}") == "50 50"


def test_label_scale_and_wait_work_on_a_deployment(api: ApiProcess) -> None:
    api.kubectl("apply", "-f", "-", stdin=DEPLOYMENT)
    assert "labeled" in api.kubectl("label", "deployment", "web", "tier=front")
    assert "scaled" in api.kubectl("scale", "deployment", "web", "--replicas=3")
    assert "met" in api.kubectl("wait", "--for=jsonpath={.spec.replicas}=3", "deployment/web", "--timeout=5s")
    shown = json.loads(api.kubectl("get", "deployment", "web", "-o", "json"))
    assert shown["metadata"]["generation"] == 2
    assert shown["metadata"]["labels"] == {"app": "web", "tier": "front"}


def test_rollout_status_follows_the_deployments_status(api: ApiProcess) -> None:
    api.kubectl("apply", "-f", "-", stdin=DEPLOYMENT)
    status = {
        "status": {
            "observedGeneration": 1,
            "replicas": 1,
            "updatedReplicas": 1,
            "readyReplicas": 1,
            "availableReplicas": 1,
        }
    }
    api.kubectl("patch", "deployment", "web", "--subresource=status", "--type=merge", "-p", json.dumps(status))
    assert "successfully rolled out" in api.kubectl("rollout", "status", "deployment/web", "--timeout=10s")
    assert "1/1" in api.kubectl("get", "deployment", "web")


def test_describe_shows_events(api: ApiProcess) -> None:
    api.kubectl("apply", "-f", "-", stdin=SDEP)
    uid = api.kubectl("get", "sdep", "yolo", "-o", "jsonpath={.metadata.uid}")
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "yolo.1", "namespace": "default"},
        "involvedObject": {"kind": "SeldonDeployment", "name": "yolo", "namespace": "default", "uid": uid},
        "reason": "Created",
        "message": "made two Deployments",
        "type": "Normal",
        "firstTimestamp": "2026-01-01T00:00:00Z",
        "lastTimestamp": "2026-01-01T00:00:00Z",
        "count": 1,
    }
    api.kubectl("apply", "-f", "-", stdin=json.dumps(event))
    assert "made two Deployments" in api.kubectl("describe", "sdep", "yolo")
    assert "made two Deployments" in api.kubectl("get", "events")


def test_logs_come_from_the_runners_files(api: ApiProcess) -> None:
    api.kubectl("apply", "-f", "-", stdin=POD)
    uid = api.kubectl("get", "pod", "p", "-o", "jsonpath={.metadata.uid}")
    path = api.paths.container_log("default", "p", uid, container="c", restart=0)
    path.parent.mkdir(parents=True)
    path.write_text("".join(f"2026-01-01T00:00:0{n}.000000Z stdout F line {n}\n" for n in range(3)))
    path.with_name("1.log").write_text("2026-01-01T00:01:00.000000Z stderr F again\n")
    assert api.kubectl("logs", "p") == "again\n"
    assert api.kubectl("logs", "p", "--previous", "--tail=2") == "line 1\nline 2\n"
    assert api.kubectl("logs", "p", "--timestamps") == "2026-01-01T00:01:00.000000Z again\n"


def test_delete_takes_what_is_owned_along(api: ApiProcess) -> None:
    api.kubectl("apply", "-f", "-", stdin=SDEP)
    uid = api.kubectl("get", "sdep", "yolo", "-o", "jsonpath={.metadata.uid}")
    owner = {"apiVersion": "machinelearning.seldon.io/v1", "kind": "SeldonDeployment", "name": "yolo", "uid": uid}
    child = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kid", "ownerReferences": [owner]}}
    api.kubectl("apply", "-f", "-", stdin=json.dumps(child))
    assert "deleted" in api.kubectl("delete", "sdep", "yolo")
    api.kubectl("wait", "--for=delete", "configmap/kid", "--timeout=10s")
    assert "not found" in api.kubectl("get", "configmap", "kid", check=False)


def test_explain_and_api_resources_know_the_kinds(api: ApiProcess) -> None:
    assert "modelUri" in api.kubectl("explain", "sdep.spec.predictors.graph")
    assert "seldondeployments" in api.kubectl("api-resources", "--api-group=machinelearning.seldon.io")


def test_everything_is_there_after_kill_9(api: ApiProcess) -> None:
    api.kubectl("apply", "-f", "-", stdin=SDEP + "---" + DEPLOYMENT)
    before = api.kubectl("get", "sdep,deployment", "-o", "json")
    api.kill()
    api.start()
    assert api.kubectl("get", "sdep,deployment", "-o", "json") == before
    version = json.loads(before)["items"][0]["metadata"]["resourceVersion"]
    path = f"/apis/apps/v1/deployments?watch=true&timeoutSeconds=1&resourceVersion={int(version) - 3}"
    assert '"code":410' in api.kubectl("get", "--raw", path)


def test_scale_of_what_counts_its_own_replicas_is_told_to_change_nothing(api: ApiProcess) -> None:
    counted = SDEP.replace("    graph:", "    replicas: 1\n    graph:")
    api.kubectl("apply", "-f", "-", stdin=counted.replace("spec:\n  predictors", "spec:\n  replicas: 2\n  predictors"))
    said = api.kubectl("scale", "sdep", "yolo", "--replicas", "3")
    assert "Warning: spec.replicas has no effect: every predictor has its own replicas" in said


def test_kind_that_there_is_not_is_named(api: ApiProcess) -> None:
    foo = "apiVersion: example.com/v1\nkind: Foo\nmetadata: {name: x}\n"
    assert 'no matches for kind "Foo" in version "example.com/v1"' in api.kubectl(
        "apply", "-f", "-", stdin=foo, check=False
    )
