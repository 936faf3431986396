"""References between manifests: what is named and nothing makes, selectors that match nothing, autoscaling that cannot."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from slipway.cli.check_files import Problem
from slipway.cli.check_world import PodSpec, World, namespace_of, pod_specs
from slipway.controller.settings import Settings
from slipway.onebox.api.autoscaler_rules import DEFAULT_METRICS
from slipway.onebox.images.errors import ImageError
from slipway.onebox.images.reference import DEFAULT_TAG, OURS, parse_reference
from slipway.onebox.mesh.services import resolve_host

Object = dict[str, Any]
Json = Mapping[str, Any]
KnowsImage = Callable[[str], bool]
"""Whether some image.yaml has this name."""
GIVEN = frozenset(
    {
        ("ConfigMap", "kube-root-ca.crt"),
        ("ServiceAccount", "default"),
        ("Secret", Settings().default_model_secret[1]),  # the controller copies it to where it is needed
        ("Gateway", Settings().istio_gateway.rpartition("/")[2]),  # of `slipway up`, and of istio/base
    }
)
"""What is there before any manifest."""
AT_LEAST_ONE = "must exist before: nothing here makes it"


def references(obj: Object, world: World, *, knows_image: KnowsImage) -> Iterator[Problem]:
    """Of one object that its API takes. What may be there already is a warning."""
    namespace = namespace_of(obj)
    for pods in pod_specs(obj):
        yield from _images(pods, knows_image)
        yield from _pod_references(pods, namespace, world)
    rules = {
        "SeldonDeployment": _seldon_deployment,
        "Service": _service,
        "PodDisruptionBudget": _disruption_budget,
        "HorizontalPodAutoscaler": _autoscaler,
        "VirtualService": _virtual_service,
        "Gateway": _gateway,
        "RoleBinding": _role_binding,
    }
    if rule := rules.get(obj["kind"]):
        yield from rule(obj, namespace, world)


def _images(pods: PodSpec, knows_image: KnowsImage) -> Iterator[Problem]:
    for path, container in pods.containers():
        image = container.get("image") or ""
        if not image:
            continue  # of a prepackaged server: the contract's rules ask for it where it is needed
        where = f"{path}.image"
        try:
            reference = parse_reference(image)
        except ImageError as error:
            yield Problem(where, str(error))
            continue
        if reference.digest is None and reference.tag == DEFAULT_TAG:
            yield Problem(
                where, f"{image!r} may be another image tomorrow: say a tag that is not `latest`, or a digest"
            )
        if not knows_image(reference.name):
            is_ours = reference.name.startswith(OURS)
            message = f"no image.yaml has `name: {reference.name}`: one machine runs only images built from one"
            yield Problem(where, message, is_error=is_ours)


def _pod_references(pods: PodSpec, namespace: str, world: World) -> Iterator[Problem]:
    for path, container in pods.containers():
        yield from _environment(path, container, namespace, world)
    for index, volume in enumerate(pods.body.get("volumes") or ()):
        yield from _volume(f"{pods.path}.volumes[{index}]", volume, namespace, world)
    if account := pods.body.get("serviceAccountName"):
        yield from _missing("ServiceAccount", account, f"{pods.path}.serviceAccountName", namespace, world)
    for index, secret in enumerate(pods.body.get("imagePullSecrets") or ()):
        yield from _missing("Secret", secret.get("name"), f"{pods.path}.imagePullSecrets[{index}]", namespace, world)


def _environment(path: str, container: Json, namespace: str, world: World) -> Iterator[Problem]:
    sources = (("secretRef", "Secret"), ("configMapRef", "ConfigMap"))
    for index, item in enumerate(container.get("envFrom") or ()):
        for key, kind in sources:
            yield from _of_reference(kind, item.get(key), f"{path}.envFrom[{index}].{key}", namespace, world)
    for index, item in enumerate(container.get("env") or ()):
        source = item.get("valueFrom") or {}
        for key, kind in (("secretKeyRef", "Secret"), ("configMapKeyRef", "ConfigMap")):
            where = f"{path}.env[{index}].valueFrom.{key}"
            yield from _of_reference(kind, source.get(key), where, namespace, world)


def _volume(path: str, volume: Json, namespace: str, world: World) -> Iterator[Problem]:
    sources: list[tuple[str, Json]] = [(path, volume)]
    projected = (volume.get("projected") or {}).get("sources") or ()
    sources += [(f"{path}.projected.sources[{index}]", item) for index, item in enumerate(projected)]
    for where, item in sources:
        yield from _of_reference("ConfigMap", item.get("configMap"), f"{where}.configMap", namespace, world)
        secret = item.get("secret") or {}
        named = {**secret, "name": secret.get("secretName") or secret.get("name")}
        yield from _of_reference("Secret", named, f"{where}.secret", namespace, world)
    if claim := volume.get("persistentVolumeClaim"):
        where = f"{path}.persistentVolumeClaim"
        yield from _missing("PersistentVolumeClaim", claim.get("claimName"), where, namespace, world)


def _of_reference(kind: str, reference: Json | None, path: str, namespace: str, world: World) -> Iterator[Problem]:
    """A Secret or ConfigMap, and the key of it where one is named."""
    if not reference or not reference.get("name") or reference.get("optional"):
        return
    name, key = str(reference["name"]), reference.get("key")
    found = world.get(kind, namespace, name)
    if found is None:
        yield from _missing(kind, name, path, namespace, world)
    elif key:
        keys = {key for part in ("data", "stringData", "binaryData") for key in found.get(part) or {}}
        if key not in keys:
            there_are = ", ".join(sorted(keys)) or "none"
            yield Problem(path, f"{kind} {name} has no key {key!r}, there are: {there_are}")


def _missing(kind: str, name: str | None, path: str, namespace: str, world: World) -> Iterator[Problem]:
    if not name or (kind, name) in GIVEN or namespace in world.partial:
        return
    if world.get(kind, namespace, name) is None:
        yield Problem(path, f"{kind} {name} in namespace {namespace} {AT_LEAST_ONE}", is_error=False)


def _seldon_deployment(obj: Object, namespace: str, world: World) -> Iterator[Problem]:
    for index, predictor in enumerate(obj["spec"].get("predictors") or ()):
        path = f"spec.predictors[{index}]"
        yield from _graph_secrets(predictor.get("graph") or {}, f"{path}.graph", namespace, world)
        orchestrator = predictor.get("svcOrchSpec") or {}
        yield from _environment(f"{path}.svcOrchSpec", orchestrator, namespace, world)
        for number, component in enumerate(predictor.get("componentSpecs") or ()):
            hpa, where = component.get("hpaSpec"), f"{path}.componentSpecs[{number}]"
            containers = (component.get("spec") or {}).get("containers") or ()
            if hpa is not None:
                metrics = hpa.get("metrics") or hpa.get("metricsv2") or DEFAULT_METRICS
                yield from _without_requests(metrics, containers, f"{where}.hpaSpec")


def _graph_secrets(node: Json, path: str, namespace: str, world: World) -> Iterator[Problem]:
    yield from _missing("Secret", node.get("envSecretRefName"), f"{path}.envSecretRefName", namespace, world)
    for index, child in enumerate(node.get("children") or ()):
        yield from _graph_secrets(child, f"{path}.children[{index}]", namespace, world)


def _without_requests(metrics: Any, containers: Any, path: str) -> Iterator[Problem]:
    """A percentage of what is requested needs a request, or, which stands in for it, a limit."""
    for metric in metrics:
        resource = metric.get("resource") or {}
        name = resource.get("name")
        is_share = "averageUtilization" in (resource.get("target") or {}) or "targetAverageUtilization" in resource
        if metric.get("type") != "Resource" or not is_share:
            continue
        for container in containers:
            resources = container.get("resources") or {}
            given = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
            if name not in given:
                message = (
                    f"container {container.get('name')!r} requests no {name}: a percentage of it cannot be computed"
                )
                yield Problem(path, message)


def _service(obj: Object, namespace: str, world: World) -> Iterator[Problem]:
    selector = (obj.get("spec") or {}).get("selector") or {}
    yield from _unmatched("spec.selector", selector, namespace, world)


def _disruption_budget(obj: Object, namespace: str, world: World) -> Iterator[Problem]:
    selector = (obj["spec"].get("selector") or {}).get("matchLabels") or {}
    yield from _unmatched("spec.selector", selector, namespace, world)


def _unmatched(path: str, selector: Json, namespace: str, world: World) -> Iterator[Problem]:
    """A warning where nothing here makes Pods in that namespace: a chart may, as Istio's does of the gateway."""
    if namespace in world.partial:
        return
    pods = list(world.pods(namespace))
    if selector and not any(selector.items() <= each.labels.items() for each in pods):
        labels = ",".join(f"{key}={value}" for key, value in sorted(selector.items()))
        message = f"{labels} matches no Pod that anything here makes in namespace {namespace}"
        yield Problem(path, message, is_error=bool(pods))


def _autoscaler(obj: Object, namespace: str, world: World) -> Iterator[Problem]:
    target = obj["spec"].get("scaleTargetRef") or {}
    kind, name = str(target.get("kind")), str(target.get("name"))
    yield from _missing(kind, name, "spec.scaleTargetRef", namespace, world)
    found = world.get(kind, namespace, name)
    for pods in pod_specs(found) if found else ():
        yield from _without_requests(
            obj["spec"].get("metrics") or (), pods.body.get("containers") or (), "spec.metrics"
        )


def _gateway(obj: Object, namespace: str, world: World) -> Iterator[Problem]:
    for index, server in enumerate(obj["spec"].get("servers") or ()):
        name = (server.get("tls") or {}).get("credentialName")
        yield from _missing("Secret", name, f"spec.servers[{index}].tls.credentialName", namespace, world)


def _virtual_service(obj: Object, namespace: str, world: World) -> Iterator[Problem]:
    for index, gateway in enumerate(obj["spec"].get("gateways") or ()):
        place, _, name = str(gateway).rpartition("/")
        if gateway != "mesh":
            yield from _missing("Gateway", name, f"spec.gateways[{index}]", place or namespace, world)
    for index, route in enumerate(obj["spec"].get("http") or ()):
        path = f"spec.http[{index}]"
        routes = route.get("route") or ()
        total = sum(item.get("weight") or 0 for item in routes)
        if len(routes) > 1 and total != 100:
            yield Problem(f"{path}.route", f"weights sum to {total}, not 100", is_error=False)
        for where, destination in _destinations(route):
            service = resolve_host(str(destination.get("host") or ""), namespace)
            if service:
                yield from _missing("Service", service[1], f"{path}.{where}.host", service[0], world)


def _destinations(route: Json) -> Iterator[tuple[str, Json]]:
    """Whom a route of a VirtualService asks, and who gets copies."""
    for key in ("route", "mirrors"):
        for number, item in enumerate(route.get(key) or ()):
            yield f"{key}[{number}].destination", item.get("destination") or {}
    yield "mirror", route.get("mirror") or {}


def _role_binding(obj: Object, namespace: str, world: World) -> Iterator[Problem]:
    role = obj.get("roleRef") or {}
    if role.get("kind") == "Role":
        yield from _missing("Role", role.get("name"), "roleRef", namespace, world)
    for index, subject in enumerate(obj.get("subjects") or ()):
        if subject.get("kind") == "ServiceAccount":
            place = subject.get("namespace") or namespace
            yield from _missing("ServiceAccount", subject.get("name"), f"subjects[{index}]", place, world)
