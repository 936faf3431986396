"""A PodSpec: what Kubernetes refuses of one, wherever it stands (pkg/apis/core/validation).

One piece for Pods, for templates and for ``componentSpecs[].spec``, which Kubernetes keeps unread until a Deployment has it.
What of a componentSpec is filled in later (a container's image, volumes that the controller adds) is looked at elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from slipway.contract.causes import Cause
from slipway.contract.container_rules import container_causes, env_causes, resource_causes
from slipway.contract.field_causes import duplicate, forbidden, invalid, quote, unsupported
from slipway.contract.fields import FieldError, Fields
from slipway.contract.pod_types import CONTAINER, ENV, POD, RESOURCES
from slipway.contract.sdep import SeldonDeployment

T = TypeVar("T")
RESTART_POLICIES = ("Always", "OnFailure", "Never")
MAX_DEADLINE_S = 2**31 - 1
MAX_LABEL = 63
LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
LABEL_WORDS = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an "
    f"alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '{LABEL.pattern}')"
)


def pod_causes(spec: Mapping[str, Any], path: str) -> Iterator[Cause]:
    """Every violation, or the first field that is of another type."""
    yield from _typed(_pod, spec, path)


def _typed(rules: Callable[[T, str], Iterator[Cause]], given: T, path: str) -> Iterator[Cause]:
    """What the rules say, up to the first field that is of another type, which is said in their place."""
    try:
        yield from rules(given, path)
    except FieldError as error:
        yield Cause(error.path, error.message)


def lasting_causes(spec: Mapping[str, Any], path: str) -> Iterator[Cause]:
    """Of a template whose Pods are to stay: they would be replaced without end."""
    policy = spec.get("restartPolicy") or "Always"
    if policy != "Always":
        yield unsupported(f"{path}.restartPolicy", policy, ("Always",))
    if spec.get("activeDeadlineSeconds") is not None:
        yield forbidden(f"{path}.activeDeadlineSeconds", "activeDeadlineSeconds in ReplicaSet is not Supported")


def component_causes(sdep: SeldonDeployment) -> Iterator[Cause]:
    """Of every PodSpec, container and environment that a SeldonDeployment hands on."""
    for index, predictor in enumerate(sdep.predictors):
        path = f"spec.predictors[{index}]"
        for number, component in enumerate(predictor.component_specs):
            where = f"{path}.componentSpecs[{number}].spec"
            yield from pod_causes(component.spec, where)
            yield from lasting_causes(component.spec, where)
        yield from _typed(_orchestrator, predictor.svc_orch_spec, f"{path}.svcOrchSpec")
        if predictor.explainer is not None:
            where = f"{path}.explainer.containerSpec"
            yield from _typed(_explainer, predictor.explainer.container, where)


def is_label(name: str) -> bool:
    return len(name) <= MAX_LABEL and LABEL.fullmatch(name) is not None


def _orchestrator(given: Mapping[str, Any], path: str) -> Iterator[Cause]:
    fields = Fields.of(given, path)
    ENV(fields.values.get("env") or (), fields.at("env"))
    RESOURCES(fields.values.get("resources") or {}, fields.at("resources"))
    yield from env_causes(fields)
    yield from resource_causes(fields)


def _explainer(given: Mapping[str, Any], path: str) -> Iterator[Cause]:
    CONTAINER(given, path)
    yield from container_causes(Fields.of(given, path), is_init=False)


def _pod(given: Mapping[str, Any], path: str) -> Iterator[Cause]:
    POD(given, path)
    spec = Fields.of(given, path)
    for group in ("initContainers", "containers"):
        for container in spec.items(group, Fields.of):
            yield from container_causes(container, is_init=group == "initContainers")
    yield from _volumes(spec)
    policy = spec.text("restartPolicy") or "Always"
    if policy not in RESTART_POLICIES:
        yield unsupported(spec.at("restartPolicy"), policy, RESTART_POLICIES)
    deadline_s = spec.values.get("activeDeadlineSeconds")
    if deadline_s is not None and not (isinstance(deadline_s, int) and 1 <= deadline_s <= MAX_DEADLINE_S):
        words = f"must be between 1 and {MAX_DEADLINE_S}, inclusive"
        yield invalid(spec.at("activeDeadlineSeconds"), deadline_s, words)


def _volumes(spec: Fields) -> Iterator[Cause]:
    """Named once each, and of one kind."""
    seen: set[str] = set()
    for volume in spec.items("volumes", Fields.of):
        name = volume.text("name")
        if not is_label(name):
            yield invalid(volume.at("name"), name, LABEL_WORDS)
        elif name in seen:
            yield duplicate(volume.at("name"), quote(name))
        seen.add(name)
        kinds = sorted(key for key, value in volume.values.items() if key != "name" and value is not None)
        for kind in kinds[1:]:
            yield forbidden(volume.at(kind), "may not specify more than 1 volume type")
