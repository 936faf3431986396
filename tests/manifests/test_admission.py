"""What Pods of a tenant may not be, where Istio's init container forbids a Pod security standard."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from slipway.contract.sdep import SeldonDeployment
from slipway.controller.desired import desired
from slipway.controller.facts import Facts
from tests.data import REPOSITORY
from tests.manifests.admission import refused
from tests.manifests.files import kustomizations, shown
from tests.manifests.kustomizations import built

Object = dict[str, Any]
ADMISSION, TENANTS = "seldon/admission", ("seldon/team", "seldon/tenant", "istio/overlays/tenant")
ISTIO_INIT = {
    "name": "istio-init",
    "image": "proxyv2:1.30.3",
    "securityContext": {
        "allowPrivilegeEscalation": False,
        "capabilities": {"add": ["NET_ADMIN", "NET_RAW"], "drop": ["ALL"]},
        "privileged": False,
        "runAsUser": 0,
    },
}
"""As Istio's injector writes it without its CNI plug-in."""


def of(place: str, kind: str, name: str = "") -> Object:
    found, *_ = [
        item for item in built(REPOSITORY / place) if item["kind"] == kind and name in ("", item["metadata"]["name"])
    ]
    return found


def asked(name: str, namespace: Object, obj: Object, resource: str) -> list[str]:
    """One policy of seldon/admission."""
    policy = of(ADMISSION, "ValidatingAdmissionPolicy", name)
    return refused(policy, of(ADMISSION, "ValidatingAdmissionPolicyBinding", name), namespace, obj, resource)


def said(pod: Object, resource: str = "pods", namespace: Object | None = None) -> list[str]:
    return asked("slipway-tenant-pods", namespace or of(TENANTS[0], "Namespace"), pod, resource)


def pod(container: Object | None = None, group: str = "containers", **spec: Any) -> Object:
    own = {"name": "web", "image": "web:1"}
    return {"metadata": {"name": "web"}, "spec": {"containers": [own], **spec}} | (
        {"metadata": {"name": "web"}, "spec": {"containers": [own], **spec, group: [own | container]}}
        if container
        else {}
    )


def secured(group: str = "containers", **security: Any) -> Object:
    return pod({"securityContext": security}, group)


@pytest.mark.parametrize("place", TENANTS)
def test_every_form_of_a_tenant_is_under_the_policy(place: str) -> None:
    root = pod(volumes=[{"name": "node", "hostPath": {"path": "/"}}])
    assert len(said(root, namespace=of(place, "Namespace"))) == 1


def test_root_on_the_node_is_refused() -> None:
    """The Pod of a review: the node's disk, network and processes, and a privileged container."""
    taken = pod(
        {"securityContext": {"privileged": True}, "ports": [{"containerPort": 80, "hostPort": 80}]},
        hostNetwork=True,
        hostPID=True,
        volumes=[{"name": "node", "hostPath": {"path": "/"}}],
    )
    assert len(said(taken)) == 4


@pytest.mark.parametrize(
    "refusal",
    [
        pod(hostIPC=True),
        pod(volumes=[{"name": "a", "emptyDir": {}}, {"name": "node", "hostPath": {"path": "/dev"}}]),
        pod({"ports": [{"containerPort": 80, "hostPort": 80}]}, "initContainers"),
        pod({"livenessProbe": {"httpGet": {"host": "169.254.169.254", "port": 80}}}),
        pod({"readinessProbe": {"tcpSocket": {"host": "10.0.0.1", "port": 80}}}),
        pod({"startupProbe": {"httpGet": {"host": "10.0.0.1", "port": 80}}}, "initContainers"),
        pod({"lifecycle": {"postStart": {"httpGet": {"host": "10.0.0.1", "port": 80}}}}),
        pod({"lifecycle": {"preStop": {"tcpSocket": {"host": "10.0.0.1", "port": 80}}}}, "initContainers"),
        secured("initContainers", privileged=True),
        secured("ephemeralContainers", privileged=True),
        secured(capabilities={"add": ["SYS_ADMIN"]}),
        secured(capabilities={"add": ["NET_ADMIN"]}),
        secured(capabilities={"add": ["ALL"]}),
        secured(seccompProfile={"type": "Unconfined"}),
        secured(appArmorProfile={"type": "Unconfined"}),
        secured(procMount="Unmasked"),
        secured(seLinuxOptions={"type": "spc_t"}),
        secured(seLinuxOptions={"user": "system_u"}),
        secured(windowsOptions={"hostProcess": True}),
        pod(securityContext={"windowsOptions": {"hostProcess": True}}),
        pod(securityContext={"seccompProfile": {"type": "Unconfined"}}),
        pod(securityContext={"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}),
        pod(initContainers=[deepcopy(ISTIO_INIT) | {"securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}}]),
        pod() | {"metadata": {"annotations": {"container.apparmor.security.beta.kubernetes.io/web": "unconfined"}}},
    ],
    ids=str,
)  # fmt: skip
def test_each_control_of_the_standard_refuses_by_itself(refusal: Object) -> None:
    assert len(said(refusal)) == 1


def test_tenant_reads_no_secret_and_may_yet_have_any_of_its_namespace_printed() -> None:
    """Whoever may make a Pod somewhere has all Secrets there: docs/kubernetes.md says what follows."""
    rules = of("seldon/tenant", "Role")["rules"]
    assert not [rule for rule in rules if {"secrets", "*"} & {*rule["resources"]}]
    assert [rule for rule in rules if "jobs" in rule["resources"] and "create" in rule["verbs"]]
    assert said(pod({"command": ["env"], "envFrom": [{"secretRef": {"name": "slipway-model-storage"}}]})) == []
    page = (REPOSITORY / "docs" / "kubernetes.md").read_text()
    assert "which tenants cannot read" not in page
    assert "A namespace is one circle of trust" in page


def test_container_for_debugging_is_asked_about() -> None:
    assert len(said(secured("ephemeralContainers", privileged=True), "pods/ephemeralcontainers")) == 1
    assert said(pod({"name": "debug"}, "ephemeralContainers"), "pods/ephemeralcontainers") == []


@pytest.mark.parametrize("folder", ["seldon/base/yolo", "seldon/overlays/separate-orchestrator", "seldon/overlays/gpu"])
def test_pods_that_the_controller_makes_are_let_in_with_their_sidecars(folder: str) -> None:
    (document,) = [item for item in built(REPOSITORY / folder) if item["kind"] == "SeldonDeployment"]
    made = [item for item in desired(SeldonDeployment.from_json(document), Facts()) if item["kind"] == "Deployment"]
    assert made
    for item in made:
        template = deepcopy(item["spec"]["template"])
        template["spec"].setdefault("initContainers", []).insert(0, ISTIO_INIT)
        assert said(template) == []


@pytest.mark.parametrize("folder", ["kubernetes/training/cpu", "kubernetes/training/gpu"])
def test_training_is_let_in(folder: str) -> None:
    (job,) = [item for item in built(REPOSITORY / folder) if item["kind"] == "Job"]
    assert said(job["spec"]["template"]) == []


@pytest.mark.parametrize(
    "let_in",
    [
        pod(hostNetwork=False, volumes=[{"name": "a", "emptyDir": {}}]),
        pod({"ports": [{"containerPort": 80, "hostPort": 0}]}),
        pod(
            {"livenessProbe": {"httpGet": {"host": "", "port": 80}}, "readinessProbe": {"exec": {"command": ["true"]}}}
        ),
        pod({"startupProbe": {"grpc": {"port": 80}}, "lifecycle": {"preStop": {"sleep": {"seconds": 5}}}}),
        pod({"lifecycle": {"postStart": {"httpGet": {"path": "/", "port": 80}}}}),
        secured(capabilities={"add": ["CHOWN"], "drop": ["ALL"]}, seLinuxOptions={"level": "s0:c1,c2"}),
        secured(seccompProfile={"type": "RuntimeDefault"}, procMount="Default", windowsOptions={}),
        pod(securityContext={"sysctls": [{"name": "net.ipv4.ip_local_port_range", "value": "1024 65535"}]}),
    ],
    ids=str,
)
def test_what_touches_no_node_is_let_in(let_in: Object) -> None:
    assert said(let_in) == []


def test_other_namespaces_are_not_asked() -> None:
    assert said(pod(hostNetwork=True), namespace={"metadata": {"labels": {}}}) == []


@pytest.mark.parametrize("place", ["metadata", "spec"])
@pytest.mark.parametrize(
    ("annotations", "given", "count"),
    [
        ({}, {}, 0),
        ({"seldon.io/istio-host": "*"}, {}, 0),
        ({"seldon.io/istio-host": "bank.example.org"}, {}, 1),
        ({"seldon.io/istio-host": "bank.example.org"}, {"slipway.dev/hosts": "a.example.org,bank.example.org"}, 0),
        ({"seldon.io/istio-host": "example.org"}, {"slipway.dev/hosts": "a.example.org,bank.example.org"}, 1),
        ({"seldon.io/istio-host": "a,b"}, {"slipway.dev/hosts": "a,b"}, 1),
        ({"seldon.io/istio-host": ""}, {}, 0),
        ({"seldon.io/istio-gateway": "istio-system/other"}, {"slipway.dev/hosts": "istio-system/other"}, 1),
        ({"seldon.io/istio-gateway": "blue/own"}, {"slipway.dev/gateways": "blue/own"}, 0),
        ({"seldon.io/istio-gateway": "blue/own", "seldon.io/istio-host": "bank.example.org"}, {}, 2),
    ],
)
def test_host_and_gateway_are_those_that_the_namespace_was_given(
    place: str, annotations: Object, given: Object, count: int
) -> None:
    obj: Object = {"metadata": {"name": "yolo"}, "spec": {"predictors": []}}
    obj[place]["annotations"] = annotations
    namespace = deepcopy(of("seldon/team", "Namespace"))
    namespace["metadata"]["annotations"] = given
    assert len(asked("slipway-tenant-hosts", namespace, obj, "seldondeployments")) == count


def test_tenant_cannot_write_what_its_namespace_was_given() -> None:
    rules = of("seldon/team", "Role")["rules"]
    assert not [rule for rule in rules if {"namespaces", "*"} & {*rule["resources"], *rule["apiGroups"]}]


@pytest.mark.parametrize(
    "folder", [path for path in map(shown, kustomizations("Kustomization")) if path.startswith("seldon/")]
)
def test_our_own_deployments_take_no_host(folder: str) -> None:
    namespace = of("seldon/team", "Namespace")
    for item in built(REPOSITORY / folder):
        if item["kind"] == "SeldonDeployment":
            assert asked("slipway-tenant-hosts", namespace, item, "seldondeployments") == []
