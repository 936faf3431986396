"""kubectl's commands make the calls, get the answers and end as they did against a real kube-apiserver.

The recorder's cluster had a Deployment controller and a kubelet; what they wrote, ``PLAYED`` writes.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.data import KUBE_API
from tests.onebox_api.conftest import ApiProcess
from tests.onebox_api.traces import Call, Trace, printed_calls, read_traces
from tests.waiting import wait_until

TRACES = KUBE_API / "kubectl-traces.md"
pytestmark = [
    pytest.mark.skipif(not TRACES.is_file(), reason=f"{TRACES} (the recording) is not here"),
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed"),
    pytest.mark.timeout(300),
]
SPACE, PODS, IMAGE = "kt", ("web-2-abcde", "web-2-fghij"), "localhost/base:v1"
NOT_SERVED = ("replicationcontrollers", "daemonsets", "statefulsets", "cronjobs")
"""Kinds that ``kubectl get all`` asks a cluster for, which one machine does not have."""
STARTS_S = 20
_POD = re.compile("|".join((*PODS, "(?<=pods/)absent")))


def sdep(name: str, *, replicas: int = 1, **more: Any) -> dict[str, Any]:
    graph = {"name": "clf", "implementation": "SKLEARN_SERVER", "modelUri": "s3://models/iris"}
    spec = {"predictors": [{"name": "default", "graph": graph}], "replicas": replicas, **more}
    return {
        "apiVersion": "machinelearning.seldon.io/v1",
        "kind": "SeldonDeployment",
        "metadata": {"name": name},
        "spec": spec,
    }


def web(*, replicas: int = 1, **meta: Any) -> dict[str, Any]:
    containers = [{"name": name, "image": IMAGE} for name in ("web", "side")]
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": containers}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "labels": {"app": "web", "team": "x"}, **meta},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template},
    }


FILES = {  # command and note → what stands in its file
    ("apply -f <file>", "first time, client-side"): web(),
    ("apply -f <file>", "second time, unchanged"): web(),
    ("apply -f <file>", "changed"): web(replicas=2),
    ("apply -f <file>", "custom resource, first"): sdep("s"),
    ("apply -f <file>", "custom resource, unchanged"): sdep("s"),
    ("apply -f <file>", "custom resource, changed: JSON merge patch"): sdep("s", replicas=2),
    ("apply --dry-run=server -f <file>", ""): sdep("s", replicas=3),
    ("apply --dry-run=client -f <file>", ""): sdep("s", replicas=3),
    ("apply --server-side -f <file>", "server-side, new"): sdep("ssa"),
    ("apply --server-side -f <file>", "server-side over a client-side object"): sdep("s", replicas=3),
    ("apply --server-side --field-manager=other -f <file>", "server-side, conflict"): sdep("ssa", replicas=3),
    ("apply --server-side --force-conflicts -f <file>", "server-side Deployment"): web(replicas=2),
    ("diff -f <file>", "differences: exit 1"): sdep("s", replicas=9),
    ("diff -f <file>", "no differences: exit 0"): sdep("s", replicas=2),
    ("diff --server-side --force-conflicts -f <file>", ""): sdep("s", replicas=9),
    ("create -f <file>", ""): sdep("created"),
    ("create -f <file>", "object exists"): sdep("created"),
    ("create -f <file>", "unknown field, default --validate=strict"): sdep("strict", unknown=1),
    ("replace -f <file>", ""): sdep("s", replicas=2),
    ("delete -f <file>", "from a file"): web(),
}


class Cluster:
    """The API, and what a Deployment controller and a kubelet would write."""

    def __init__(self, api: ApiProcess) -> None:
        self._api = api

    def kubectl(self, *words: str, stdin: str = "", check: bool = True) -> str:
        return self._api.kubectl(*words, "-n", SPACE, stdin=stdin, check=check)

    def make(self, obj: dict[str, Any]) -> dict[str, Any]:
        made: dict[str, Any] = json.loads(self.kubectl("create", "-o", "json", "-f", "-", stdin=json.dumps(obj)))
        return made

    def get(self, what: str, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.kubectl("get", what, name, "-o", "json"))
        return found

    def roll_out(self) -> None:
        """The Deployment's status: every replica is updated and ready."""
        found = self.get("deployment", "web")
        count = found["spec"]["replicas"]
        names = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
        available = {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable"}
        status = {
            "observedGeneration": found["metadata"]["generation"],
            "conditions": [available],
            **dict.fromkeys(names, count),
        }
        patch = json.dumps({"status": status})
        self.kubectl("patch", "deployment", "web", "--subresource=status", "--type=merge", "-p", patch)

    def run_pods(self) -> None:
        """Two ReplicaSets, the older one without Pods; Pods that have printed something."""
        deployment = self.get("deployment", "web")
        for revision in ("1", "2"):
            self.make(replica_set(deployment, revision))
        self._set_revision("2")
        self.roll_out()
        spec = deployment["spec"]["template"]["spec"]
        for name in PODS:
            meta = {"name": name, "labels": {"app": "web"}}
            uid = self.make({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})["metadata"]["uid"]
            path = self._api.paths.container_log(SPACE, name, uid, container="web", restart=0)
            path.parent.mkdir(parents=True)
            path.write_text("".join(f"2026-01-01T00:00:0{n}.000000Z stdout F line {n}\n" for n in range(3)))

    def _set_revision(self, revision: str) -> None:
        self.kubectl("annotate", "deployment", "web", f"deployment.kubernetes.io/revision={revision}", "--overwrite")

    def hold_namespace(self) -> None:
        meta = {"name": "held", "finalizers": ["example.com/hold"]}
        self.make({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta})

    def release_namespace(self) -> None:
        self.kubectl("patch", "configmap", "held", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')


def replica_set(deployment: dict[str, Any], revision: str) -> dict[str, Any]:
    meta, spec = deployment["metadata"], deployment["spec"]
    labels = {"app": "web", "pod-template-hash": revision}
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": meta["uid"], "controller": True}
    pod = {**spec["template"]["spec"], "hostname": f"r{revision}"}  # so that their templates differ
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"web-{revision}",
            "labels": labels,
            "annotations": {"deployment.kubernetes.io/revision": revision},
            "ownerReferences": [owner],
        },
        "spec": {
            "replicas": 0 if revision == "1" else spec["replicas"],
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


PLAYED: dict[tuple[str, str], Callable[[Cluster], None]] = {  # before this command
    ("get deploy,sdep,pods", ""): Cluster.run_pods,
    ("rollout status deploy/web --timeout=30s", ""): Cluster.roll_out,
    ("wait deploy/web --for=condition=Available --timeout=20s", ""): Cluster.roll_out,
    ("delete ns kt", "namespace: waits for it"): Cluster.hold_namespace,
}
MEANWHILE: dict[tuple[str, str], Callable[[Cluster], None]] = {  # once the last call of this command is open
    ("rollout status deploy/web --timeout=30s", "while it runs"): Cluster.roll_out,
    ("delete ns kt", "namespace: waits for it"): Cluster.release_namespace,
}
EDITORS = {"EDITOR is a sed script": "sed -i 's/replicas: 2/replicas: 3/'", "nothing changed in the editor": "true"}


def plain(trace: Trace) -> tuple[str, str]:
    """Command and note, without the namespace that nearly all have."""
    return trace.command.replace(f" -n {SPACE}", ""), trace.note


class Kubectl:
    """Runs one recorded command."""

    def __init__(self, api: ApiProcess, folder: Path) -> None:
        self._api = api
        self._folder = folder
        self.cluster = Cluster(api)

    def run(self, trace: Trace) -> tuple[list[Call], int]:
        """Its calls and its exit status."""
        key = plain(trace)
        if key in FILES:
            (self._folder / "file.json").write_text(json.dumps(FILES[key]))
        words = trace.command.replace("<file>", str(self._folder / "file.json")).replace("<pod>", self._pod(trace))
        log = self._folder / "log"
        with log.open("w") as output:
            process = subprocess.Popen(
                ["kubectl", "--kubeconfig", str(self._api.paths.kubeconfig), "-v=8", *words.split()],
                stdout=subprocess.DEVNULL,
                stderr=output,
                env={**os.environ, "HOME": str(self._folder), "EDITOR": EDITORS.get(trace.note, "false")},
            )
            if trace.is_interrupted or key in MEANWHILE:
                wait_until(
                    lambda: len(printed_calls(log.read_text())) >= len(trace.calls) or process.poll() is not None,
                    timeout_s=STARTS_S,
                    what=f"{trace.command}: the last call",
                )
            if trace.is_interrupted:
                wait_until(lambda: printed_calls(log.read_text())[-1][2], timeout_s=STARTS_S, what="its answer")
                process.terminate()
            elif key in MEANWHILE:
                MEANWHILE[key](self.cluster)
            code = process.wait(timeout=STARTS_S)
        return printed_calls(log.read_text()), code

    @staticmethod
    def _pod(trace: Trace) -> str:
        return "absent" if trace.command.startswith("exec") else PODS[0]


def comparable(calls: tuple[Call, ...] | list[Call]) -> list[Call]:
    """Without the kinds that are not here, and with one name for every Pod."""
    named = [(method, _POD.sub("<pod>", path), status) for method, path, status in calls]
    return [call for call in named if not any(f"/{kind}?" in call[1] for kind in NOT_SERVED)]


def test_kubectl_makes_the_recorded_calls(api: ApiProcess, tmp_path: Path) -> None:
    kubectl, differences = Kubectl(api, tmp_path), []
    api.kubectl("delete", "crd", "seldondeployments.machinelearning.seldon.io")
    items = json.loads((KUBE_API / "crds.json").read_text())["items"]
    definition = next(item for item in items if item["spec"]["names"]["kind"] == "SeldonDeployment")
    api.kubectl("create", "-f", "-", stdin=json.dumps(definition))
    traces = [trace for trace in read_traces(TRACES) if "no such server" not in trace.note]
    for trace in traces:
        if before := PLAYED.get(plain(trace)):
            before(kubectl.cluster)
        calls, code = kubectl.run(trace)
        expected = comparable(trace.calls)
        if comparable(calls) != expected or (code != trace.exit_code and not trace.is_interrupted):
            differences.append(
                f"{trace.command} ({trace.note})\n  {expected}, {trace.exit_code}\n  {comparable(calls)}, {code}"
            )
    assert len(traces) == 93
    assert not differences, "\n".join(differences)
