"""What the recorder did besides the recorded pairs, and the pairs that our API does not yet answer alike."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.onebox_api.recorded import ACCOUNT_TOKEN, Action

MERGE = "application/merge-patch+json"
SDEP = "machinelearning.seldon.io/v1"
ONE_PREDICTOR = [
    {"name": "default", "graph": {"name": "clf", "implementation": "SKLEARN_SERVER", "modelUri": "s3://models/iris"}}
]

NAMESPACES: dict[str, str | None] = {
    "01-crd": None,
    "02-discovery": None,
    "03-crud": None,
    "04-generation": "gen",
    "05-list": "list",
    "06-watch": "watch",
    "07-patch": "patch",
    "08-apply": "ssa",
    "09-validation-dryrun": "strict",
    "10-scale": "scale",
    "11-delete": "del",
    "12-table": "table",
    "13-pods-logs-events": "pods",
    "14-auth": "auth",
    "15-lease-namespace": "lease",
}


def config_map(namespace: str, name: str, *, data: dict[str, str] | None = None, **more: Any) -> Action:
    meta = {"name": name, **more.pop("metadata", {})}
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data or {"k": "v"}, **more}
    return Action("POST", f"/api/v1/namespaces/{namespace}/configmaps", body)


def sdep(namespace: str, name: str, *, labels: dict[str, str] | None = None, **spec: Any) -> Action:
    meta: dict[str, Any] = {"name": name, **({"labels": labels} if labels else {})}
    body = {
        "apiVersion": SDEP,
        "kind": "SeldonDeployment",
        "metadata": meta,
        "spec": {"predictors": ONE_PREDICTOR, **spec},
    }
    return Action("POST", f"/apis/{SDEP}/namespaces/{namespace}/seldondeployments", body)


def held(namespace: str, name: str, finalizer: str) -> Action:
    made = sdep(namespace, name)
    return replace(made, body={**made.body, "metadata": {"name": name, "finalizers": [finalizer]}})


def status(namespace: str, name: str, value: dict[str, Any]) -> Action:
    path = f"/apis/{SDEP}/namespaces/{namespace}/seldondeployments/{name}/status"
    return Action("PATCH", path, {"status": value}, MERGE)


def patch(namespace: str, name: str, body: dict[str, Any]) -> Action:
    return Action("PATCH", f"/api/v1/namespaces/{namespace}/configmaps/{name}", body, MERGE)


def delete(namespace: str, name: str) -> Action:
    return Action("DELETE", f"/api/v1/namespaces/{namespace}/configmaps/{name}")


CA_NOTE = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters."


def cluster_config(namespace: str, *names: str) -> tuple[Action, ...]:
    """The ConfigMaps that a controller manager puts into each namespace."""
    known = {
        "kube-root-ca.crt": ({"ca.crt": "-"}, {"kubernetes.io/description": CA_NOTE}),
        "openshift-service-ca.crt": ({"service-ca.crt": ""}, {"service.beta.openshift.io/inject-cabundle": "true"}),
    }
    actions = []
    for name in names:
        data, annotations = known[name]
        action = config_map(namespace, name, data=data, metadata={"annotations": annotations})
        actions.append(replace(action, query={"fieldManager": "kube-controller-manager"}))
    return tuple(actions)


WEB = 'i=1; while [ $i -le 5 ]; do echo line $i; i=$((i+1)); done; trap "exit 0" TERM; while true; do sleep 1; done'
SIDE = 'echo side; trap "exit 0" TERM; while true; do sleep 1; done'


def deployment(namespace: str, *, replicas: int = 0) -> Action:
    web = {
        "name": "web",
        "image": "localhost/base:v1",
        "imagePullPolicy": "Never",
        "command": ["sh", "-c", WEB],
        "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
        "ports": [{"name": "http", "containerPort": 8080}],
    }
    side = {
        "name": "side",
        "image": "localhost/base:v1",
        "imagePullPolicy": "Never",
        "command": ["sh", "-c", SIDE],
    }
    template = {
        "metadata": {"labels": {"app": "d"}},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [web, side]},
    }
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d", "labels": {"app": "d"}},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "d"}}, "template": template},
    }
    return Action("POST", f"/apis/apps/v1/namespaces/{namespace}/deployments", body)


def rolled_out(namespace: str, revision: str, *, hash_: str = "746cb97f9") -> Action:
    """What the deployment controller writes."""
    time = "2026-01-01T00:00:00Z"
    conditions = [
        ("Available", "MinimumReplicasAvailable", "Deployment has minimum availability."),
        ("Progressing", "NewReplicaSetAvailable", f'ReplicaSet "d-{hash_}" has successfully progressed.'),
    ]
    rows = [
        {
            "type": kind,
            "status": "True",
            "lastUpdateTime": time,
            "lastTransitionTime": time,
            "reason": why,
            "message": text,
        }
        for kind, why, text in conditions
    ]
    body = {
        "metadata": {"annotations": {"deployment.kubernetes.io/revision": revision}},
        "status": {"observedGeneration": 1, "conditions": rows},
    }
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/d/status"
    return Action("PATCH", path, body, MERGE, {"fieldManager": "kube-controller-manager"})


def pod(namespace: str, name: str, *containers: str) -> Action:
    """A Pod that a runner has taken up."""
    spec = {"nodeName": "node1", "containers": [{"name": each, "image": "localhost/base:v1"} for each in containers]}
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
    return Action("POST", f"/api/v1/namespaces/{namespace}/pods", body)


def waiting(namespace: str, name: str, container: str, reason: str) -> Action:
    """What a kubelet says of a container that cannot start."""
    status = {"name": container, "image": "-", "imageID": "", "ready": False, "restartCount": 0}
    body = {"status": {"containerStatuses": [{**status, "state": {"waiting": {"reason": reason}}}]}}
    return Action("PATCH", f"/api/v1/namespaces/{namespace}/pods/{name}/status", body, MERGE)


def account_token(namespace: str, account: str) -> Action:
    """What stands here for the recorder's TokenRequest."""
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "token", "annotations": {"kubernetes.io/service-account.name": account}},
        "type": "kubernetes.io/service-account-token",
        "stringData": {"token": ACCOUNT_TOKEN},
    }
    return Action("POST", f"/api/v1/namespaces/{namespace}/secrets", body)


BEFORE: dict[str, tuple[Action, ...]] = {
    "03-3": cluster_config("crud", "openshift-service-ca.crt", "kube-root-ca.crt"),
    "03-42": (sdep("crud", "r1"),),
    "03-53": (config_map("crud", "imm", immutable=True),),
    "03-65": (config_map("crud", "pre"),),
    "04-23": (rolled_out("gen", "1", hash_="56bfcbc9b9"),),
    "05-1": (
        config_map("list", "c0", metadata={"labels": {"app": "a", "tier": "x"}}),
        config_map("list", "c1", metadata={"labels": {"app": "b"}}),
        config_map("list", "c2", metadata={"labels": {"app": "c", "tier": "y"}}),
        config_map("list", "c3"),
        config_map("list", "c4", metadata={"labels": {"app": "a"}}),
        config_map("list", "kube-root-ca.crt"),
        config_map("list", "openshift-service-ca.crt"),
        sdep("list", "s0", labels={"app": "a0"}),
        sdep("list", "s1", labels={"app": "a1"}, protocol="v2"),
    ),
    "05-28": (config_map("list", "c00"),),
    "05-36": (config_map("list", "c9"),),
    "05-44": (config_map("list", "later", metadata={"namespace": "list"}), delete("list", "later")),
    "06-1": (
        *cluster_config("watch", "kube-root-ca.crt", "openshift-service-ca.crt"),
        config_map("watch", "pre", metadata={"labels": {"w": "1"}}),
    ),
    "07-1": (
        config_map("patch", "a", data={"x": "1", "y": "2"}),
        sdep("patch", "s", replicas=1),
        deployment("patch"),
    ),
    "07-15": (rolled_out("patch", "1"),),
    "07-16": (rolled_out("patch", "2"),),
    "07-17": (rolled_out("patch", "3"),),
    "07-18": (rolled_out("patch", "4"),),
    "07-19": (rolled_out("patch", "5"),),
    "08-20": (rolled_out("ssa", "1"),),
    "09-19": (config_map("strict", "real"),),
    "10-1": (sdep("scale", "s", replicas=2), deployment("scale"), sdep("scale", "none")),
    "10-11": (status("scale", "s", {"replicas": 2, "selector": "app=s"}),),
    "11-1": (held("del", "f", "example.com/hold"),),
    "11-12": (
        Action("PATCH", f"/apis/{SDEP}/namespaces/del/seldondeployments/fw", {"metadata": {"finalizers": None}}, MERGE),
        replace(sdep("del", "own-background"), uid="<uid3>"),
    ),
    "11-16": (replace(sdep("del", "own-foreground"), uid="<uid5>"),),
    "11-20": (replace(sdep("del", "own-orphan"), uid="<uid7>"),),
    "11-28": (
        config_map("del", "m0", metadata={"labels": {"m": "0"}}),
        config_map("del", "m1", metadata={"labels": {"m": "1"}}),
        config_map("del", "m2", metadata={"labels": {"m": "0"}}),
    ),
    "14-7": (account_token("auth", "sa"),),
    "15-11": (held("lease", "hold", "example.com/hold"), config_map("lease", "c")),
    "13-4": (pod("pods", "d-56bfcbc9b9-<random1>", "web", "side"),),
    "13-23": (waiting("pods", "nopull", "c", "ErrImageNeverPull"),),
    "12-1": (
        *cluster_config("table", "openshift-service-ca.crt", "kube-root-ca.crt"),
        sdep("table", "s", replicas=2),
        status("table", "s", {"state": "Available"}),
    ),
}

KNOWN: dict[str, dict[str, str]] = {
    "06-watch": {"rv1": "2"},
    "07-patch": {"rv1": "2"},
    "13-pods-logs-events": {"<random1>": "bcdfg"},
}  # sent as "too old", masked by the recorder

COMPACTED_AT = {"06-21": "rv20"}  # versions that are gone when these pairs run

REMEMBERED_AT = {"11-13": "rv6", "11-21": "rv12"}  # where the streams filed after these pairs began

LOG_AT = "13-5"  # what the container printed is there from here on

DURING: dict[str, tuple[Action, ...]] = {
    "06-1": (
        config_map("watch", "w1", metadata={"labels": {"w": "1"}}),
        patch("watch", "w1", {"data": {"k": "2"}}),
        patch("watch", "w1", {"data": {"k": "2"}}),
        delete("watch", "w1"),
    ),
    "06-5": (
        patch("watch", "pre", {"metadata": {"labels": {"w": "2"}}}),
        patch("watch", "pre", {"data": {"z": "1"}}),
        patch("watch", "pre", {"metadata": {"labels": {"w": "1"}}}),
    ),
    "06-18": (
        sdep("watch", "t"),
        status("watch", "t", {"state": "Available"}),
        Action("DELETE", f"/apis/{SDEP}/namespaces/watch/seldondeployments/t"),
    ),
    "06-20": (sdep("watch", "u"),),
}

CONTROLLERS = "needs what a deployment controller, a scheduler and a kubelet wrote meanwhile"
OTHER_DOCUMENT = "the recorded hash is that of the recorded document; test_openapi.py tests the behaviour"
WHOLE_OBJECT = "the message repeats the whole object in the field order of Go's types"

NOT_YET: dict[str, str] = {
    "01-2": "a definition is established within its own request: no waiting conditions",
    "01-3": "a definition is established within its own request: no waiting conditions",
    "01-4": "a definition is served at once, not after a 429",
    "01-5": "no controller of its own writes the conditions of a definition",
    "02-1": "a version of our own: no Go compiler, no build of Kubernetes",
    "02-2": "another server address",
    "02-7": OTHER_DOCUMENT,
    "02-20": "the path list was cut",
    "02-21": "documents of groups and of /version are not offered",
    "02-22": OTHER_DOCUMENT,
    "02-24": "the recorded definition was cut to its group, version and kind",
    "02-29": "the resource version in the YAML text is not masked",
    "02-33": "answers are never protobuf, also errors are not",
    "03-48": "CEL rules are not evaluated",
    "07-30": WHOLE_OBJECT,
    "08-25": CONTROLLERS,
    "09-12": WHOLE_OBJECT,
    "11-25": "the message prints Go pointers",
    "11-32": CONTROLLERS,
    "11-33": CONTROLLERS,
    "11-34": CONTROLLERS,
    "11-35": CONTROLLERS,
    "11-36": CONTROLLERS,
    "11-37": CONTROLLERS,
    "11-38": CONTROLLERS,
    "12-1": CONTROLLERS,
    "12-2": CONTROLLERS,
    "12-3": CONTROLLERS,
    "12-5": "there is no Service `kubernetes` here",
    "12-7": "the recorder's other namespaces are not here",
    "12-8": CONTROLLERS,
    "12-18": "the recorder's other namespaces are not here",
    "12-22": CONTROLLERS,
    "13-1": CONTROLLERS,
    "13-2": CONTROLLERS,
    "13-3": CONTROLLERS,
    "13-22": "Pods get no service account volume, tolerations and priority here",
    "13-24": CONTROLLERS,
    "13-25": "the message prints Go values",
    "13-26": "Pods get no service account volume here",
    "13-27": CONTROLLERS,
    "14-2": "a version of our own: no Go compiler, no build of Kubernetes",
    "14-6": "TokenRequest is not offered: a Secret holds a service account's token",
    "14-24": "the paths that are open to everybody are other ones",
    "14-25": "tokens of Secrets have no credential id",
    "14-26": "TokenReview is not offered",
    "15-8": "the recorded request is that of 15-9; test_times.py has its answer",
    "15-15": "the namespace is emptied at once, not after a while",
    "15-16": "the namespace is emptied at once, not after a while",
    "15-17": "the namespace is emptied at once, not after a while",
    "15-18": "no conditions say what a namespace still holds",
}
