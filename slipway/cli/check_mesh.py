"""What the mesh of one machine would have against manifests: its own translation of them, without anything that runs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from slipway.cli.check_files import Problem
from slipway.cli.check_world import World, generated, namespace_of
from slipway.controller.settings import ONE_MACHINE
from slipway.kube.kinds import (
    AUTHORIZATION_POLICY,
    DESTINATION_RULE,
    GATEWAY,
    REQUEST_AUTHENTICATION,
    SECRET,
    SERVICE,
    VIRTUAL_SERVICE,
    Kind,
)
from slipway.kube.malformed import MALFORMED
from slipway.onebox.api.istio_rules import errors_of
from slipway.onebox.api.rules import default_secret
from slipway.onebox.mesh.ir import Finding
from slipway.onebox.mesh.translate import Objects, Site
from slipway.onebox.mesh.unreadable import translate_readable

Object = dict[str, Any]
FIELD = re.compile(r"([\w.]+(?:\[[^\]]*\][\w.]*)*): (.*)", re.DOTALL)
Key = tuple[str, str, str]
"""Kind, namespace, name."""
REFERRED_TO: Mapping[Kind, str] = {
    SERVICE: "services",
    GATEWAY: "gateways",
    DESTINATION_RULE: "destination_rules",
    SECRET: "secrets",
}
"""Kinds that others name, wherever they are made, and what the mesh calls them."""
READ: Mapping[Kind, str] = {
    **REFERRED_TO,
    VIRTUAL_SERVICE: "virtual_services",
    REQUEST_AUTHENTICATION: "request_authentications",
    AUTHORIZATION_POLICY: "authorization_policies",
}
SITE = Site("127.0.0.1", 8080, "", trusted_authorities="those of the machine")
"""No finding is about its values."""
LAST = "9999"
"""When what others make was created: of two objects that mean the same the older one counts, and the other is named."""
MAY_COME = "it may be there already, nothing here makes it"


def mesh_problems(together: Sequence[Object], world: World) -> Iterator[tuple[Object, Problem]]:
    """Of objects that are applied together, each with the manifest that it comes from. ``world``: all that is checked."""
    owners = {_key(item): (item, obj) for obj in together for item in (obj, *generated(obj))}
    items = [item for item, _ in owners.values()]
    items += [_later(item) for key, item in world.objects.items() if key not in owners and _is(item, REFERRED_TO)]
    objects = Objects(
        **{name: tuple(_stored(item) for item in items if _is(item, {kind: name})) for kind, name in READ.items()}
    )
    try:
        _, mesh = translate_readable(_with_own_gateway(objects), SITE)
    except MALFORMED as exc:
        yield from ((obj, _unreadable(exc)) for obj in together if _is(obj, READ))
        return
    told: set[int] = set()
    for finding in mesh.findings:
        item, obj = owners.get((finding.kind, finding.namespace, finding.name), (None, None))
        if obj is not None and (problem := _problem(finding, world, is_made=item is not obj)):
            told |= {id(obj)} if problem.is_error else set()
            yield obj, problem
    for obj in together:
        if id(obj) not in told:
            yield from ((obj, _denied(text)) for text in errors_of(obj))


def _denied(text: str) -> Problem:
    """What Istio's webhook, and the API, would refuse, where the mesh said nothing: ``http[0]: …``, or no field."""
    if found := FIELD.fullmatch(text):
        return Problem(f"spec.{found[1]}", found[2])
    return Problem("spec", text)


def _problem(finding: Finding, world: World, *, is_made: bool) -> Problem | None:
    """None for what is only missing: that is a reference, except for subsets, which have no object of their own."""
    is_error, message = finding.reason == "Invalid", finding.message
    if finding.reason == "NotFound":
        if is_made or finding.namespace in world.partial or not finding.field.endswith(".subset"):
            return None
        message = f"{message} ({MAY_COME})"
    if not is_made:
        return Problem(finding.field, message, is_error=is_error)
    text = f"the {finding.kind} {finding.name} that is made of it: {finding.field}: {message}"
    return Problem("", text, is_error=is_error)


def _unreadable(error: Exception) -> Problem:
    return Problem("spec", f"the mesh cannot read it, or another one beside it: {type(error).__name__}: {error}")


def _with_own_gateway(objects: Objects) -> Objects:
    """That of `slipway up`, where no manifest has another of its name."""
    namespace, _, name = ONE_MACHINE.istio_gateway.partition("/")
    if any(_key(item)[1:] == (namespace, name) for item in objects.gateways):
        return objects
    servers = [{"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}]
    own = {"kind": GATEWAY.kind, "metadata": {"namespace": namespace, "name": name}, "spec": {"servers": servers}}
    return Objects(**{**vars(objects), "gateways": (*objects.gateways, own)})


def _is(item: Mapping[str, Any], kinds: Mapping[Kind, str]) -> bool:
    group = str(item["apiVersion"]).rpartition("/")[0]
    return any((group, item["kind"]) == (kind.group, kind.kind) for kind in kinds)


def _key(item: Mapping[str, Any]) -> Key:
    return str(item["kind"]), namespace_of(item), str(item["metadata"]["name"])


def _later(item: Object) -> Object:
    return {**item, "metadata": {**item["metadata"], "creationTimestamp": LAST}}


def _stored(item: Object) -> Object:
    """As the API would have it, as far as the mesh looks: in a namespace, what a Secret says as text in base64."""
    stored = {**item, "metadata": {**item["metadata"], "namespace": namespace_of(item)}}
    if _is(item, {SECRET: ""}):
        default_secret(stored)
    return stored
