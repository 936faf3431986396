"""What a client sends: bytes → a JSON value, duplicates found; a value → an object of the right kind, fields checked."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import yaml

from slipway.crd.structural import json_type, prune
from slipway.kube.go_yaml import GoYaml, constructors
from slipway.onebox.api.errors import Refused, bad_request
from slipway.onebox.api.protobuf import can_read, decode_message, parse_envelope
from slipway.onebox.api.schema import MAX_DEPTH, Schema, decode, depth
from slipway.onebox.api.target import Options, Target
from slipway.onebox.api.types import load_types

MAX_BODY_BYTES = 3 * 1024 * 1024
"""Kubernetes' limit for one object."""
PROTOBUF = "application/vnd.kubernetes.protobuf"
MAX_YAML_NODES = 50_000
"""Values and keys of a YAML body: reading one costs some ten times what JSON costs, and nobody else is served meanwhile."""
INT64_CHARS = 19
MAX_WARNINGS = 50
SHOWN_CHARS = 30
Object = dict[str, Any]


@dataclass(frozen=True)
class Parsed:
    """A decoded body; ``duplicates`` are paths of keys that came twice (the last one counts)."""

    value: Any
    duplicates: tuple[str, ...] = ()
    text: str = ""  # as it was sent, for errors


def _whole(text: str) -> int | float:
    """A whole number as Go reads it into an interface: an int64, or a float where it does not fit."""
    return int(text) if len(text) < INT64_CHARS or -(2**63) <= int(text) < 2**63 else _finite(text)


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"json: number {text[:SHOWN_CHARS]} is out of range")
    return value


class _Pairs(dict[str, Any]):
    """An object while parsing: remembers which of its keys came twice."""

    twice: tuple[str, ...] = ()


def _remember(pairs: list[tuple[str, Any]]) -> _Pairs:
    result = _Pairs(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        result.twice = tuple(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
    return result


def parse_json(body: bytes) -> Parsed:
    """Raises ValueError with the position; RecursionError is a ValueError too."""
    try:
        value = json.loads(
            body, object_pairs_hook=_remember, parse_constant=_no_constant, parse_int=_whole, parse_float=_finite
        )
    except RecursionError as exc:
        raise ValueError("exceeded max depth") from exc
    if depth(value) > MAX_DEPTH:
        raise ValueError("exceeded max depth")
    if b"\\u" in body:
        _check_text(value)
    duplicates: list[str] = []
    return Parsed(_plain(value, "", duplicates), tuple(duplicates))


def _check_text(value: Any) -> None:
    """Raises ValueError for half a surrogate pair: no answer with this object could be encoded any more."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as exc:
        raise ValueError(f"a string holds {exc.object[exc.start]!a}, half of a surrogate pair") from exc


def _no_constant(name: str) -> None:
    raise ValueError(f"invalid character '{name[0]}' looking for beginning of value")


def _plain(value: Any, path: str, duplicates: list[str]) -> Any:
    if isinstance(value, _Pairs):
        prefix = f"{path}." if path else ""
        duplicates += [f"{prefix}{key}" for key in value.twice]
        return {key: _plain(item, f"{prefix}{key}", duplicates) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item, f"{path}[{index}]", duplicates) for index, item in enumerate(value)]
    return value


class _Loader(GoYaml, yaml.CSafeLoader):  # type: ignore[misc]  # PyYAML is untyped
    """Without limits of its own: what is loaded has passed _check_yaml."""

    yaml_constructors = constructors()


def _check_yaml(body: bytes) -> None:
    """Raises ValueError before anything is built: the parser needs quadratic time for deep nesting, so it is left early."""
    nodes = level = 0
    for event in yaml.parse(body, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError("yaml: aliases are not accepted")  # noqa: TRY004  - of a text, not of a Python type
        if isinstance(event, yaml.CollectionStartEvent):
            level += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            level -= 1
        nodes += isinstance(event, yaml.NodeEvent)
        if level > MAX_DEPTH:
            raise ValueError("exceeded max depth")
        if nodes > MAX_YAML_NODES:
            raise ValueError(f"yaml: more than {MAX_YAML_NODES} keys and values: send JSON")


def parse_yaml(body: bytes) -> Parsed:
    """One document; aliases are refused, they can grow without bound. Raises ValueError."""
    try:
        _check_yaml(body)
        return parse_json(json.dumps(yaml.load(body, Loader=_Loader)).encode())  # noqa: S506  - a safe loader's subclass
    except (yaml.YAMLError, RecursionError, TypeError) as exc:
        raise ValueError(f"error converting YAML to JSON: {exc}") from exc


def parse_body(body: bytes, content_type: str, *, kind: str, schema: Schema | None = None) -> Parsed:
    """A body to create or replace an object of ``kind``; ``schema`` is what protobuf is read with.

    Raises Refused 400 or 415.
    """
    media = content_type.partition(";")[0].strip().lower()
    if media == PROTOBUF and schema is not None and can_read(schema):
        return _parse_protobuf(body, kind=kind, schema=schema)
    if media not in ("", "application/json", "application/yaml", "application/octet-stream"):
        accepted = "application/json, application/yaml"
        if media == PROTOBUF:
            accepted += (
                f" (protobuf is not read for {kind}: use `kubectl create -f` or `kubectl apply -f`, which send JSON)"
            )
        else:
            accepted += f", {PROTOBUF}"
        message = f"the body of the request was in an unknown format - accepted media types include: {accepted}"
        raise Refused(415, message, reason="UnsupportedMediaType")
    try:
        parsed = parse_yaml(body) if media == "application/yaml" else parse_json(body)
    except ValueError as exc:
        raise _unrecognized(kind, f"couldn't get version/kind; json parse error: {_go_error(body, exc)}", body) from exc
    if not isinstance(parsed.value, dict):
        why = f"json: cannot unmarshal {json_type(parsed.value)} into Go value of type struct "
        why += '{ APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }'
        raise bad_request(
            f"the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; json parse error: {why} ({body[:20].hex()})"
        )
    return replace(parsed, text=body.decode(errors="replace"))


def _parse_protobuf(body: bytes, *, kind: str, schema: Schema) -> Parsed:
    try:
        envelope = parse_envelope(body)
        identity = {"apiVersion": envelope.api_version, "kind": envelope.kind}
        if envelope.kind not in ("", kind):
            return Parsed(identity)  # refused by its kind, as JSON is
        return Parsed({**identity, **decode_message(schema, envelope.message)})
    except ValueError as exc:
        raise bad_request(f"the object provided is unrecognized (must be of type {kind}): protobuf: {exc}") from exc


def _unrecognized(kind: str, why: str, body: bytes) -> Refused:
    text = body.decode(errors="replace")
    shown = (text[:SHOWN_CHARS] + " ...") if len(text) > SHOWN_CHARS else text or "<empty>"
    return bad_request(f"the object provided is unrecognized (must be of type {kind}): {why} ({shown})")


def _go_error(body: bytes, error: ValueError) -> str:
    """Go's words for the two commonest JSON errors, else our own."""
    if isinstance(error, json.JSONDecodeError):
        rest = body.decode(errors="replace")[error.pos :].lstrip()
        if not rest:
            return "unexpected end of JSON input"
        where = "beginning of object key string" if "property name" in error.msg else "beginning of value"
        return f"invalid character '{rest[0]}' looking for {where}"
    return str(error)


def parse_patch(body: bytes, *, is_yaml: bool) -> Parsed:
    """A patch body. Raises Refused 400."""
    try:
        return parse_yaml(body) if is_yaml else parse_json(body)
    except ValueError as exc:
        raise bad_request(f"error decoding patch: {_go_error(body, exc)}") from exc


def typed_object(target: Target, parsed: Parsed, options: Options) -> tuple[Object, list[str]]:
    """An object of the target's kind and version from a body, and warnings.

    Raises Refused 400 for another kind or version, and for unknown or duplicate fields under Strict.
    """
    value = _of_kind(target, parsed)
    obj, unknown = checked_fields(target, value)
    problems = [f'duplicate field "{path}"' for path in parsed.duplicates]
    problems += [f'unknown field "{path}"' for path in unknown]
    if problems and options.validation == "Strict":
        kind = target.resource.kind
        raise bad_request(
            f'{kind} in version "{target.version.name}" cannot be handled as a {kind}: strict decoding error: '
            + ", ".join(problems)
        )
    return obj, problems[:MAX_WARNINGS] if options.validation == "Warn" else []


def checked_fields(target: Target, value: Mapping[str, Any]) -> tuple[Object, list[str]]:
    """``value`` without fields that its kind does not have, and their paths."""
    kind = target.resource.kind
    body = {key: item for key, item in value.items() if key not in ("apiVersion", "kind")}
    identity = {"apiVersion": target.api_version, "kind": kind}
    if not target.resource.is_custom:
        decoded, unknown = decode(target.version.schema, body, kind=kind)
        decoded.setdefault("metadata", {})
        return {**identity, **decoded}, unknown
    body = copy.deepcopy(body)
    meta, unknown_meta = decode(load_types()["ObjectMeta"], body.pop("metadata", None) or {}, kind=kind)
    unknown = prune(target.version.schema, body)
    unknown += [f"metadata.{path}" for path in unknown_meta]
    return {**identity, "metadata": meta, **body}, sorted(unknown)


def _of_kind(target: Target, parsed: Parsed) -> Mapping[str, Any]:
    value: Mapping[str, Any] = parsed.value
    kind, resource = value.get("kind"), target.resource
    api_version = value.get("apiVersion")
    if not kind or not api_version:
        if resource.is_custom:
            text = parsed.text or json.dumps(value)
            missing = "Kind" if not kind else "apiVersion"
            raise _unrecognized(resource.kind, f"Object '{missing}' is missing in '{text}'", text.encode())
        return value
    if kind != resource.kind:
        if resource.is_custom:
            raise bad_request(
                f'no kind "{kind}" is registered for version "{api_version}": {resource.kind} is expected here'
            )
        group = resource.group.partition(".")[0] or "core"
        raise bad_request(
            f'{kind} in version "{str(api_version).rpartition("/")[2]}" cannot be handled as a {resource.kind}: '
            f"converting ({str(api_version).replace('/', '.')}.{kind}) to ({group}.{resource.kind}): unknown conversion"
        )
    if api_version != target.api_version:
        raise bad_request(
            f"the API version in the data ({api_version}) does not match the expected API version ({target.api_version})"
        )
    return value
