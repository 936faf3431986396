"""The two Python clients that people use work against the API: list, watch, create, patch, apply, delete."""

from __future__ import annotations

import base64
import contextlib
import copy
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import kr8s.asyncio
import pytest
import yaml
from kr8s.asyncio import objects
from kr8s.asyncio.objects import new_class
from kubernetes import client, dynamic, watch
from kubernetes.config.incluster_config import InClusterConfigLoader

from tests.onebox_api.conftest import TOKEN, ApiProcess, running_api
from tests.onebox_api.test_kubectl import DEPLOYMENT, SDEP

CONFIG_MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {a: '1'}\n"
POD_SPEC = "spec: {restartPolicy: Never, containers: [{name: c, image: 'x:1'}]}"
RULE = "{apiGroups: [''], resources: [pods], verbs: [get]}"
ISTIO = "networking.istio.io/v1"


def manifest(api_version: str, kind: str, *lines: str) -> str:
    return "\n".join((f"apiVersion: {api_version}", f"kind: {kind}", "metadata: {name: x}", *lines))


KINDS = {  # kind → its manifest, a merge patch, and where the patch shows
    "ConfigMap": (CONFIG_MAP, {"data": {"a": "2"}}, ("data", "a")),
    "Deployment": (DEPLOYMENT, {"spec": {"replicas": 3}}, ("spec", "replicas")),
    "SeldonDeployment": (SDEP, {"spec": {"protocol": "seldon"}}, ("spec", "protocol")),
    "Service": (
        manifest("v1", "Service", "spec: {ports: [{port: 80}]}"),
        {"spec": {"selector": {"app": "web"}}},
        ("spec", "selector"),
    ),
    "ServiceAccount": (
        manifest("v1", "ServiceAccount"),
        {"automountServiceAccountToken": False},
        ("automountServiceAccountToken",),
    ),
    "PersistentVolumeClaim": (
        manifest(
            "v1", "PersistentVolumeClaim", "spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}"
        ),
        {"spec": {"resources": {"requests": {"storage": "2Gi"}}}},
        ("spec", "resources", "requests"),
    ),
    "ReplicaSet": (
        manifest(
            "apps/v1",
            "ReplicaSet",
            "spec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: 'x:1'}]}}}",
        ),
        {"spec": {"replicas": 2}},
        ("spec", "replicas"),
    ),
    "Job": (
        manifest("batch/v1", "Job", "spec:", "  template:", f"    {POD_SPEC}"),
        {"spec": {"parallelism": 2}},
        ("spec", "parallelism"),
    ),
    "HorizontalPodAutoscaler": (
        manifest(
            "autoscaling/v2",
            "HorizontalPodAutoscaler",
            "spec: {maxReplicas: 2, scaleTargetRef: {kind: Deployment, name: x}}",
        ),
        {"spec": {"maxReplicas": 5}},
        ("spec", "maxReplicas"),
    ),
    "PodDisruptionBudget": (
        manifest("policy/v1", "PodDisruptionBudget", "spec: {minAvailable: 1, selector: {matchLabels: {a: b}}}"),
        {"spec": {"minAvailable": "50%"}},
        ("spec", "minAvailable"),
    ),
    "Lease": (
        manifest("coordination.k8s.io/v1", "Lease", "spec: {holderIdentity: a}"),
        {"spec": {"holderIdentity": "b"}},
        ("spec", "holderIdentity"),
    ),
    "EndpointSlice": (
        manifest("discovery.k8s.io/v1", "EndpointSlice", "addressType: IPv4", "endpoints: [{addresses: [127.1.2.3]}]"),
        {"ports": [{"name": "a", "protocol": "TCP", "port": 80}]},
        ("ports",),
    ),
    "Role": (
        manifest("rbac.authorization.k8s.io/v1", "Role", f"rules: [{RULE}]"),
        {"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]},
        ("rules",),
    ),
    "RoleBinding": (
        manifest(
            "rbac.authorization.k8s.io/v1",
            "RoleBinding",
            "roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: x}",
        ),
        {"subjects": [{"kind": "ServiceAccount", "name": "x", "namespace": "default"}]},
        ("subjects",),
    ),
    "VirtualService": (
        manifest(ISTIO, "VirtualService", "spec: {hosts: [a], http: [{route: [{destination: {host: a}}]}]}"),
        {"spec": {"hosts": ["b"]}},
        ("spec", "hosts"),
    ),
    "DestinationRule": (
        manifest(ISTIO, "DestinationRule", "spec: {host: a}"),
        {"spec": {"host": "b"}},
        ("spec", "host"),
    ),
    "Gateway": (
        manifest(
            ISTIO,
            "Gateway",
            "spec: {selector: {a: b}, servers: [{hosts: [a], port: {number: 80, name: h, protocol: HTTP}}]}",
        ),
        {"spec": {"selector": {"a": "c"}}},
        ("spec", "selector"),
    ),
    "ServiceEntry": (
        manifest(ISTIO, "ServiceEntry", "spec: {hosts: [a.b]}"),
        {"spec": {"resolution": "DNS"}},
        ("spec", "resolution"),
    ),
    "RequestAuthentication": (
        manifest("security.istio.io/v1", "RequestAuthentication", "spec: {jwtRules: [{issuer: a}]}"),
        {"spec": {"jwtRules": [{"issuer": "b"}]}},
        ("spec", "jwtRules"),
    ),
    "AuthorizationPolicy": (
        manifest("security.istio.io/v1", "AuthorizationPolicy", "spec: {action: ALLOW}"),
        {"spec": {"action": "DENY"}},
        ("spec", "action"),
    ),
    "ScaledObject": (
        manifest("keda.sh/v1alpha1", "ScaledObject", "spec: {scaleTargetRef: {name: x}, triggers: [{type: cpu}]}"),
        {"spec": {"maxReplicaCount": 3}},
        ("spec", "maxReplicaCount"),
    ),
}
CUSTOM = ("istio.io", "seldon.io", "keda.sh")
LABEL = {"team": "a"}


def at(obj: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        obj = obj[key]
    return obj


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiProcess]:
    with running_api(tmp_path_factory.mktemp("clients") / "home") as process:
        yield process


@pytest.fixture
def official(api: ApiProcess) -> Iterator[dynamic.DynamicClient]:
    configuration = client.Configuration(host=f"https://{api.address}")
    configuration.ssl_ca_cert = str(api.paths.secrets / "api.crt")
    configuration.api_key = {"authorization": f"Bearer {TOKEN}"}
    with client.ApiClient(configuration) as connected:
        yield dynamic.DynamicClient(connected)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_official_client_does_everything(official: dynamic.DynamicClient, kind: str) -> None:
    text, patch, path = KINDS[kind]
    body = yaml.safe_load(text)
    name = body["metadata"]["name"]
    resource = official.resources.get(api_version=body["apiVersion"], kind=kind)
    made = resource.create(body=body, namespace="default")
    assert name in [item.metadata.name for item in resource.get(namespace="default").items]
    patched = resource.patch(name=name, namespace="default", body=patch, content_type="application/merge-patch+json")
    assert at(patched.to_dict(), path) == at(patch, path)
    events = resource.watch(namespace="default", name=name, resource_version=made.metadata.resourceVersion, timeout=5)
    first = next(iter(events))
    assert (first["type"], at(first["raw_object"], path)) == ("MODIFIED", at(patch, path))
    noted = {"metadata": {"annotations": {"note": "a"}}}
    strategic = {"name": name, "namespace": "default", "content_type": "application/strategic-merge-patch+json"}
    if any(group in body["apiVersion"] for group in CUSTOM):
        with pytest.raises(dynamic.exceptions.ApiException, match="415"):
            resource.patch(body=noted, **strategic)
        resource.patch(name=name, namespace="default", body=noted, content_type="application/merge-patch+json")
    else:
        resource.patch(body=noted, **strategic)
    operations = [
        {"op": "test", "path": "/metadata/annotations/note", "value": "a"},
        {"op": "replace", "path": "/metadata/annotations/note", "value": "b"},
    ]
    noted = resource.patch(name=name, namespace="default", body=operations, content_type="application/json-patch+json")
    assert noted.metadata.annotations.to_dict()["note"] == "b"
    config = {**body, "metadata": {"name": name, "labels": LABEL}}
    applied = resource.server_side_apply(
        body=config, name=name, namespace="default", field_manager="test", force_conflicts=True
    )
    assert applied.metadata.labels.to_dict()["team"] == "a"
    resource.delete(name=name, namespace="default")
    with pytest.raises(dynamic.exceptions.NotFoundError):
        resource.get(name=name, namespace="default")


@pytest.mark.parametrize("kind", ["SeldonDeployment", "ConfigMap"])
def test_empty_metadata_is_not_kept(official: dynamic.DynamicClient, kind: str) -> None:
    """As kubectl diff would show it for ever: an overlay of kustomize may leave an empty map."""
    body = yaml.safe_load(KINDS[kind][0])
    body["metadata"] |= {"name": "bare", "labels": {}, "annotations": {}, "finalizers": [], "ownerReferences": []}
    resource = official.resources.get(api_version=body["apiVersion"], kind=kind)
    once = resource.create(body=body, namespace="default", dry_run="All").to_dict()
    twice = resource.server_side_apply(
        body=body, name="bare", namespace="default", field_manager="test", dry_run="All"
    ).to_dict()
    for made in (once, twice):
        assert not {"labels", "annotations", "finalizers", "ownerReferences"} & made["metadata"].keys()


def test_the_version_is_what_the_official_client_reads(official: dynamic.DynamicClient) -> None:
    assert client.VersionApi(official.client).get_code().git_version.startswith("v1.32.")


def test_the_official_clients_typed_api_lists_and_watches(official: dynamic.DynamicClient) -> None:
    core = client.CoreV1Api(official.client)
    made = core.create_namespaced_config_map("default", yaml.safe_load(CONFIG_MAP))
    assert made.data == {"a": "1"}
    stream = watch.Watch()
    for event in stream.stream(core.list_namespaced_config_map, "default", timeout_seconds=5):
        assert (event["type"], event["object"].metadata.name) == ("ADDED", "settings")
        stream.stop()
    core.delete_namespaced_config_map("settings", "default")
    with pytest.raises(client.ApiException) as missing:
        core.read_namespaced_config_map("settings", "default")
    assert missing.value.status == 404
    assert json.loads(missing.value.body)["reason"] == "NotFound"


def test_a_service_accounts_secret_is_all_that_the_official_client_needs(
    api: ApiProcess, official: dynamic.DynamicClient, tmp_path: Path
) -> None:
    core = client.CoreV1Api(official.client)
    core.create_namespaced_service_account("default", {"metadata": {"name": "robot"}})
    meta = {"name": "robot", "annotations": {"kubernetes.io/service-account.name": "robot"}}
    secret = {"metadata": meta, "type": "kubernetes.io/service-account-token"}
    for name, content in core.create_namespaced_secret("default", secret).data.items():
        (tmp_path / name).write_bytes(base64.b64decode(content))
    host, _, port = api.address.partition(":")
    given = client.Configuration()
    InClusterConfigLoader(
        token_filename=str(tmp_path / "token"),
        cert_filename=str(tmp_path / "ca.crt"),
        environ={"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port},
    ).load_and_set(given)
    with client.ApiClient(given) as robot:
        review = client.AuthenticationV1Api(robot).create_self_subject_review({})
    assert review.status.user_info.username == "system:serviceaccount:default:robot"


IRREGULAR = {"AuthorizationPolicy": "authorizationpolicies", "ServiceEntry": "serviceentries"}  # kr8s adds an s
CLASSES: dict[str, Any] = {
    kind: getattr(objects, kind, None)
    or new_class(kind, yaml.safe_load(text)["apiVersion"], plural=IRREGULAR.get(kind))
    for kind, (text, _, _) in KINDS.items()
}


@pytest.fixture
async def connected(api: ApiProcess) -> AsyncIterator[kr8s.asyncio.Api]:
    connected = await kr8s.asyncio.api(kubeconfig=str(api.paths.kubeconfig))
    yield connected
    await connected._session.aclose()  # kr8s offers no way of its own


@pytest.mark.parametrize("kind", sorted(KINDS))
async def test_kr8s_does_everything(connected: Any, kind: str) -> None:
    text, patch, path = KINDS[kind]
    body = {**yaml.safe_load(text)}
    body["metadata"] = {**body["metadata"], "namespace": "default"}
    obj = await CLASSES[kind](copy.deepcopy(body), api=connected)
    await obj.create()
    names = [item.name async for item in connected.get(CLASSES[kind], namespace="default")]
    assert obj.name in names
    await obj.patch(patch)
    assert at(obj.raw.to_dict(), path) == at(patch, path)
    await obj.patch([{"op": "add", "path": "/metadata/annotations", "value": {"note": "b"}}], type="json")
    assert obj.annotations["note"] == "b"
    async with contextlib.aclosing(connected.watch(CLASSES[kind], namespace="default")) as events:
        async for event, seen in events:
            assert event == "ADDED"
            if seen.name == obj.name:
                break
    config = {**body, "metadata": {"name": obj.name, "labels": LABEL}}
    arguments = {
        "version": obj.version,
        "namespace": "default",
        "url": f"{obj.endpoint}/{obj.name}",
        "headers": {"Content-Type": "application/apply-patch+yaml"},
        "params": {"fieldManager": "test", "force": "true"},
    }
    async with connected.call_api("PATCH", content=json.dumps(config), **arguments) as answer:
        assert answer.json()["metadata"]["labels"]["team"] == "a"
    await obj.delete()
    assert not await obj.exists()
