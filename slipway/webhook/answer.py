"""An AdmissionReview of the API server → its answer, by the rules that the API of one machine keeps.

The form is admission.k8s.io/v1 (Kubernetes' reference, "kube-apiserver Admission (v1)"). Nothing is ever changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from slipway.contract.admission import review
from slipway.contract.controller_id import LABEL, is_looked_after
from slipway.contract.learning import learning_apart
from slipway.contract.sdep import GROUP, KIND, SeldonDeployment
from slipway.contract.without_effect import without_effect
from slipway.controller.autoscaling import refused_autoscaling
from slipway.controller.settings import Settings
from slipway.controller.traffic import refused_traffic
from slipway.crd.definition import PLURAL
from slipway.crd.schema import schema
from slipway.crd.structural import Violation, validate
from slipway.kube.invalid import invalid

Object = Mapping[str, Any]
API_VERSION, REVIEW = "admission.k8s.io/v1", "AdmissionReview"
REVIEWED = frozenset({"CREATE", "UPDATE"})
SCHEMA = schema()
MAX_CAUSES = 50
MAX_TEXT = 1000
"""Characters of a cause, a path, a name or a warning."""
MAX_WARNINGS = 50
SUFFIX_CHARS = 5
"""That an API server adds to ``generateName``."""


class NoReview(ValueError):
    """The body is no AdmissionReview that could be answered: what is wrong with it."""


@dataclass(frozen=True)
class Request:
    """What is read of one; the object stays as it came."""

    uid: str
    operation: str
    is_ours: bool
    """A whole SeldonDeployment, not one of its sub-resources."""
    new: Object
    old: Object
    namespace: str

    @classmethod
    def read(cls, body: Any) -> Request:
        """Raises NoReview."""
        if not isinstance(body, Mapping) or (body.get("apiVersion"), body.get("kind")) != (API_VERSION, REVIEW):
            raise NoReview(f"apiVersion {API_VERSION} and kind {REVIEW} are expected")
        given = _mapping(body, "request")
        if not isinstance(uid := given.get("uid"), str) or not uid:
            raise NoReview("request.uid is no text")
        resource = _mapping(given, "resource")
        is_ours = (resource.get("group"), resource.get("resource")) == (GROUP, PLURAL) and not given.get("subResource")
        return cls(
            uid=uid,
            operation=str(given.get("operation")),
            is_ours=is_ours,
            new=_mapping(given, "object"),
            old=_mapping(given, "oldObject"),
            namespace=str(given.get("namespace") or ""),
        )


def answer(body: Any, settings: Settings) -> dict[str, Any]:
    """The AdmissionReview to send back. ``settings``: those of the controller that will carry the object out.

    Raises:
        NoReview: which nobody but an API server's own fault or a stranger can cause.
    """
    request = Request.read(body)
    response: dict[str, Any] = {"uid": request.uid, "allowed": True}
    if is_reviewed(request, settings.controller_id):
        obj = _named(request)
        if violations := _violations(obj, settings):
            response |= {"allowed": False, "status": _status(_cut(str(obj["metadata"]["name"])), _bounded(violations))}
        elif told := [_cut(text) for text in islice(_warnings(obj, settings), MAX_WARNINGS)]:
            response["warnings"] = told
    return {"apiVersion": API_VERSION, "kind": REVIEW, "response": response}


def is_reviewed(request: Request, controller_id: str) -> bool:
    """Not what is another controller's, ends, or stays as it is: labels of what was stored before a rule can be changed.

    The labels of the namespace are in no review; the webhook's namespaceSelector has looked at them.
    """
    if not request.is_ours or request.operation not in REVIEWED or not request.new:
        return False
    metadata = _mapping(request.new, "metadata")
    if metadata.get("deletionTimestamp") or not is_looked_after(
        controller_id, _mapping(metadata, "labels"), {LABEL: controller_id}
    ):
        return False
    return request.operation != "UPDATE" or _reviewed(request.new) != _reviewed(request.old)


def _reviewed(obj: Object) -> tuple[Any, Any]:
    """What rules are about."""
    return obj.get("spec"), _mapping(obj, "metadata").get("annotations") or {}


def _violations(obj: Object, settings: Settings) -> list[Violation]:
    """The schema's first: where another's definition serves, nobody has asked it yet, and it bounds what rules go through."""
    found = list(islice(validate(SCHEMA, {"spec": obj.get("spec")}, path=""), MAX_CAUSES + 1))
    causes = [] if found else review(obj, predictor_servers=settings.predictor_servers)
    return found or [Violation(cause.field, cause.message, cause.reason) for cause in causes]


def _bounded(violations: list[Violation]) -> list[Violation]:
    """What a person can read, and an API server passes on, of as many as an object of some MiB may have."""
    kept = [replace(each, field=_cut(each.field), message=_cut(each.message)) for each in violations[:MAX_CAUSES]]
    return kept if len(violations) <= MAX_CAUSES else [*kept, Violation("spec", f"and more than {MAX_CAUSES} in all")]


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}…"


def _named(request: Request) -> dict[str, Any]:
    """With the name and namespace that it will have, as far as they are known."""
    metadata = dict(_mapping(request.new, "metadata"))
    if not metadata.get("name"):
        metadata["name"] = f"{metadata.get('generateName') or ''}{'x' * SUFFIX_CHARS}"
    metadata["namespace"] = metadata.get("namespace") or request.namespace
    return {**request.new, "metadata": metadata}


def _warnings(obj: Object, settings: Settings) -> Iterator[str]:
    """What is taken and yet has no effect, not what one would think, or only on one machine."""
    yield from without_effect(obj, is_one_machine=False)
    yield from learning_apart(obj)
    sdep = SeldonDeployment.from_json(obj)
    for cause in (*refused_autoscaling(sdep, settings), *refused_traffic(sdep, settings)):
        yield f"{cause.field}: {cause.message}: the controller will say Failed"


def _status(name: str, violations: list[Violation]) -> dict[str, Any]:
    said = invalid(KIND, GROUP, name, violations)
    return {"status": "Failure", "reason": "Invalid", "code": 422, "message": said.message, "details": said.details}


def _mapping(values: Object, key: str) -> Object:
    """Empty where it is absent; NoReview where it is of another kind."""
    value = values.get(key)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise NoReview(f"{key} is no object")
    return value
