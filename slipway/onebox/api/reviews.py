"""Questions that are answered and not kept: who am I, may I do this, what may I do here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from slipway.contract.causes import Cause
from slipway.kube.fields_v1 import EMPTY
from slipway.onebox.api.auth import DISCOVERY_ROOTS, Access, Authorizer, User
from slipway.onebox.api.errors import invalid
from slipway.onebox.api.ownership import Writer, after_update, render_entries
from slipway.onebox.api.schema import normalize
from slipway.onebox.api.target import Object, Options, Target

Answer = Callable[[Authorizer, User, Object], Object]


def review(target: Target, obj: Object, options: Options, *, authorizer: Authorizer, user: User) -> Object:
    """``obj`` with its status filled in. Refused 422 for a question that asks nothing."""
    name = target.resource.kind
    question = dict(normalize(target.version.schema, {**obj, "status": {}}))
    answered = {**question, "status": ANSWERS[name](authorizer, user, obj)}
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if name == "SelfSubjectReview":
        return {**answered, "metadata": {**answered["metadata"], "creationTimestamp": now}}
    if name == "SelfSubjectRulesReview":
        return {**answered, "spec": {}}
    writer = Writer(options.manager, "Update", target.api_version)
    entries = after_update(
        [],
        schema=target.version.schema,
        old={"spec": {}},
        new={"spec": obj.get("spec", {})},
        writer=writer,
        ignored=EMPTY,
        now=now,
    )
    return {**answered, "metadata": {**answered["metadata"], "managedFields": render_entries(entries)}}


def _access(authorizer: Authorizer, user: User, obj: Object) -> Object:
    spec = obj.get("spec") or {}
    if ("resourceAttributes" in spec) == ("nonResourceAttributes" in spec):
        message = "Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified"
        cause = Cause("spec.resourceAttributes", message)
        raise invalid("SelfSubjectAccessReview", "authorization.k8s.io", "", [cause])
    path = spec.get("nonResourceAttributes")
    if path is not None:
        return {"allowed": path.get("verb") == "get" and authorizer.may_get(user, path.get("path", ""))}
    asked = spec["resourceAttributes"]
    plural, subresource = asked.get("resource", ""), asked.get("subresource", "")
    access = Access(
        asked.get("verb", ""),
        asked.get("group", ""),
        f"{plural}/{subresource}" if subresource else plural,
        asked.get("namespace", ""),
        asked.get("name", ""),
    )
    why = authorizer.why(user, access)
    return {"allowed": why is not None, **({"reason": why} if why else {})}


def _rules(authorizer: Authorizer, user: User, obj: Object) -> Object:
    namespace = (obj.get("spec") or {}).get("namespace", "")
    if not namespace:
        raise invalid(
            "SelfSubjectRulesReview",
            "authorization.k8s.io",
            "",
            [Cause("spec.namespace", "Required value: no namespace on request", "FieldValueRequired")],
        )
    parts = ("verbs", "apiGroups", "resources", "resourceNames")
    paths = [path for root in DISCOVERY_ROOTS for path in (root, f"{root}/*") if authorizer.may_get(user, root)]
    return {
        "resourceRules": list(_picked(authorizer.rules(user, namespace), parts)),
        "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": paths}] if paths else [],
        "incomplete": False,
    }


def _picked(rules: Iterable[Mapping[str, Any]], parts: tuple[str, ...]) -> Iterable[Object]:
    for rule in rules:
        if rule.get("resources"):
            yield {part: list(rule[part]) for part in parts if rule.get(part)}


def _whoami(authorizer: Authorizer, user: User, obj: Object) -> Object:
    del authorizer, obj
    return {"userInfo": {"username": user.name, "groups": list(user.groups)}}


ANSWERS: Mapping[str, Answer] = {
    "SelfSubjectAccessReview": _access,
    "SelfSubjectRulesReview": _rules,
    "SelfSubjectReview": _whoami,
}
