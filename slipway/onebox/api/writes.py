"""The writing verbs: a body and a query → one change."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from slipway.contract.causes import Cause
from slipway.contract.field_causes import quote
from slipway.crd.structural import json_type
from slipway.onebox.api.bodies import Parsed, parse_body, parse_patch, typed_object
from slipway.onebox.api.errors import Refused, bad_request, invalid, not_allowed, qualified
from slipway.onebox.api.objects import Objects, Outcome
from slipway.onebox.api.patches import json_patch, merge_patch, strategic_merge
from slipway.onebox.api.preconditions import check_version
from slipway.onebox.api.scale import blank_scale, render_scale, write_scale
from slipway.onebox.api.schema import MAX_DEPTH, depth
from slipway.onebox.api.target import Object, Options, Target, options_refused, parse_options

MERGE = "application/merge-patch+json"
JSON = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"


def create(
    objects: Objects, target: Target, query: Mapping[str, str], *, body: bytes, media: str, agent: str
) -> Outcome:
    """POST to a collection."""
    options = parse_options(query, kind="CreateOptions", agent=agent)
    parsed = parse_body(body, media, kind=target.resource.kind, schema=target.version.schema)
    return objects.create(target, parsed, options)


def question(
    target: Target, query: Mapping[str, str], *, body: bytes, media: str, agent: str
) -> tuple[Object, Options]:
    """POST of an object that is answered and not kept."""
    options = parse_options(query, kind="CreateOptions", agent=agent)
    parsed = parse_body(body, media, kind=target.resource.kind, schema=target.version.schema)
    return typed_object(target, parsed, options)[0], options


def replace(
    objects: Objects, target: Target, query: Mapping[str, str], *, body: bytes, media: str, agent: str
) -> Outcome:
    """PUT of an object, its status or its scale."""
    options = parse_options(query, kind="UpdateOptions", agent=agent)
    if target.subresource == "scale" and target.resource.scale:
        parsed = parse_body(body, media, kind="Scale")
        return write_scale(objects, target, parsed.value, target.resource.scale, options)
    parsed = parse_body(body, media, kind=target.resource.kind, schema=target.version.schema)
    return objects.replace(target, parsed, options)


def patch(
    objects: Objects, target: Target, query: Mapping[str, str], *, body: bytes, media: str, agent: str
) -> Outcome:
    """PATCH with any of the four kinds of patch."""
    media = media.partition(";")[0].strip()
    _check_media(target, media)
    options = parse_options(query, kind="PatchOptions", agent=agent)
    if media == APPLY and not query.get("fieldManager"):
        cause = Cause("fieldManager", "Required value: is required for apply patch", "FieldValueRequired")
        raise options_refused("PatchOptions", [cause])
    if media != APPLY and "force" in query:
        cause = Cause("force", "Forbidden: may not be specified for non-apply patch", "FieldValueForbidden")
        raise options_refused("PatchOptions", [cause])
    parsed = parse_patch(body, is_yaml=media == APPLY)
    if target.subresource == "scale":
        return _patch_scale(objects, target, parsed.value, media, options)
    if media == APPLY:
        if not isinstance(parsed.value, dict):
            raise bad_request(f"error decoding YAML: an object is expected, not {json_type(parsed.value)}")
        return objects.apply(target, parsed.value, options)
    return _patch_object(objects, target, parsed, media, options)


def _check_media(target: Target, media: str) -> None:
    accepted = [JSON, MERGE, APPLY] if target.resource.is_custom else [JSON, MERGE, STRATEGIC, APPLY]
    if media in accepted:
        return
    if media in (STRATEGIC, *accepted):
        message = (
            f"the body of the request was in an unknown format - accepted media types include: {', '.join(accepted)}"
        )
        raise Refused(415, message, reason="UnsupportedMediaType")
    raise Refused(415, "415: Unsupported Media Type", reason="UnsupportedMediaType", details={})


def _patched(target: Target, live: Object, value: Any, media: str) -> Object:
    if media == JSON:
        result = json_patch(live, value)
    else:
        if not isinstance(value, dict):
            raise bad_request(
                f"error decoding patch: json: cannot unmarshal {json_type(value)} into Go value of type map[string]interface {{}}"
            )
        result = strategic_merge(target.version.schema, live, value) if media == STRATEGIC else merge_patch(live, value)
    if depth(result) > MAX_DEPTH:
        raise bad_request("error decoding patch: exceeded max depth")
    if not isinstance(result, dict) or not isinstance(result.get("metadata"), dict):
        message = "the server rejected our request due to an error in our request"
        raise Refused(422, message, reason="Invalid", details={})
    return result


def _patch_object(objects: Objects, target: Target, parsed: Parsed, media: str, options: Options) -> Outcome:
    live = objects.stored(target)
    shown = objects.shown(target, live)
    changed = _patched(target, shown, parsed.value, media)
    try:
        obj, warnings = typed_object(target, Parsed(changed, parsed.duplicates), options)
    except Refused as exc:
        raise _unpatchable(changed, exc) from exc
    meta = obj["metadata"]
    if meta.get("name") != target.name or meta.get("namespace", target.namespace) != target.namespace:
        what, here = ("name", target.name) if meta.get("name") != target.name else ("namespace", target.namespace)
        raise bad_request(
            f"the {what} of the object ({meta.get(what, '')}) does not match the {what} on the URL ({here})"
        )
    if target.resource.is_custom and meta.get("uid", live["metadata"]["uid"]) != live["metadata"]["uid"]:
        cause = Cause("metadata.uid", f"Invalid value: {quote(str(meta['uid']))}: field is immutable")
        raise invalid(
            target.resource.kind, target.resource.group, target.name, [cause, cause]
        )  # Kubernetes checks twice
    check_version(target, live, meta)
    if "managedFields" in meta and meta["managedFields"] == shown["metadata"].get("managedFields"):
        del meta["managedFields"]
    elif "managedFields" not in meta and "managedFields" in shown["metadata"]:
        meta["managedFields"] = []
    return objects.update(target, live, obj, options, warnings=warnings)


def _unpatchable(changed: Object, error: Refused) -> Refused:
    """A patch whose result cannot be decoded is 422 about the patch."""
    reason = error.message.partition("handled as a ")[2].partition(": ")[2] or error.message
    cause = Cause(
        "patch", f"Invalid value: {quote(json.dumps(changed, separators=(',', ':'), sort_keys=True))}: {reason}"
    )
    return invalid("", "", "", [cause])


def _patch_scale(objects: Objects, target: Target, value: Any, media: str, options: Options) -> Outcome:
    scale = target.resource.scale
    if scale is None:
        raise not_allowed()
    blank = blank_scale(target, objects.get(target), scale)
    changed = _patched(target, blank, value, MERGE if media == APPLY else media)
    if isinstance(value, dict) and "resourceVersion" not in (value.get("metadata") or {}):
        changed = {**changed, "metadata": {k: v for k, v in changed["metadata"].items() if k != "resourceVersion"}}
    return write_scale(objects, target, changed, scale, options)


def answer(target: Target, outcome: Outcome) -> Object:
    """The body for an outcome: the object, or its Scale."""
    if target.subresource == "scale" and target.resource.scale:
        return render_scale(target, outcome.obj, target.resource.scale)
    return outcome.obj


def unsupported(target: Target, verb: str) -> Refused:
    """405 as Kubernetes words it for custom and for built-in kinds."""
    if not target.resource.is_custom:
        return not_allowed()
    shown = qualified(target.resource.plural, target.resource.group)
    details = {"group": target.resource.group, "kind": target.resource.plural}
    message = f'{verb} is not supported on resources of kind "{shown}"'
    return Refused(405, message, reason="MethodNotAllowed", details=details)
