"""Names, labels, annotations, owners and finalizers: the rules that every kind shares."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from slipway.contract.causes import Cause
from slipway.contract.field_causes import quote

SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
SERVICE_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
QUALIFIED = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
QUALIFIED_TEXT = f"must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '{QUALIFIED.pattern}')"
MAX_NAME, MAX_LABEL = 253, 63
MAX_ANNOTATIONS_BYTES = 256 * 1024


def check_name(name: str, rule: str) -> Iterator[Cause]:
    """Each way a name breaks its kind's rule."""
    limit, pattern, text, example = MAX_NAME, SUBDOMAIN, "", ""
    match rule:
        case "subdomain":
            text = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character"
            example = "e.g. 'example.com'"
        case "label":
            limit, pattern = MAX_LABEL, LABEL
            text = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character"
            example = "e.g. 'my-name',  or '123-abc'"
        case "service":
            limit, pattern = MAX_LABEL, SERVICE_NAME
            text = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character"
            example = "e.g. 'my-name',  or 'abc-123'"
        case _:
            if name in (".", "..") or "/" in name or "%" in name:
                yield Cause(
                    "metadata.name", f"Invalid value: {quote(name)}: may not be '.', '..' or contain '/' or '%'"
                )
            return
    if len(name) > limit:
        yield Cause("metadata.name", f"Invalid value: {quote(name)}: must be no more than {limit} characters")
    if rule == "label" and not pattern.fullmatch(name) and SUBDOMAIN.fullmatch(name):
        yield Cause("metadata.name", f"Invalid value: {quote(name)}: must not contain dots")
    elif not pattern.fullmatch(name):
        message = f"{text} ({example}, regex used for validation is '{pattern.pattern}')"
        yield Cause("metadata.name", f"Invalid value: {quote(name)}: {message}")


def check_labels(labels: Mapping[str, Any], path: str) -> Iterator[Cause]:
    for key, value in labels.items():
        yield from _check_key(key, path)
        if len(str(value)) > MAX_LABEL or not LABEL_VALUE.fullmatch(str(value)):
            yield Cause(
                path,
                f"Invalid value: {quote(value)}: a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '{LABEL_VALUE.pattern}')",
            )


def check_annotations(annotations: Mapping[str, Any], path: str) -> Iterator[Cause]:
    for key in annotations:
        yield from _check_key(key, path)
    if sum(len(key) + len(str(value)) for key, value in annotations.items()) > MAX_ANNOTATIONS_BYTES:
        yield Cause(path, f"Too long: may not be more than {MAX_ANNOTATIONS_BYTES} bytes", "FieldValueTooLong")


def check_meta(meta: Mapping[str, Any]) -> Iterator[Cause]:
    """Labels, annotations and owner references."""
    yield from check_labels(meta.get("labels") or {}, "metadata.labels")
    yield from check_annotations(meta.get("annotations") or {}, "metadata.annotations")
    for owner in meta.get("ownerReferences") or ():
        for field in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(field):
                message = f'Invalid value: "": {"version" if field == "apiVersion" else field} must not be empty'
                yield Cause(f"metadata.ownerReferences.{field}", message)
    controllers = [owner for owner in meta.get("ownerReferences") or () if owner.get("controller")]
    if len(controllers) > 1:
        names = " and ".join(f"{owner['kind']} {owner['name']}" for owner in controllers[:2])
        yield Cause(
            "metadata.ownerReferences",
            f"Invalid value: Only one reference can have Controller set to true. Found {names}",
        )


def _check_key(key: str, field: str) -> Iterator[Cause]:
    prefix, _, name = key.rpartition("/")
    if len(name) > MAX_LABEL or not QUALIFIED.fullmatch(name):
        yield Cause(
            field,
            f"Invalid value: {quote(key)}: name part {QUALIFIED_TEXT}",
        )
    if prefix and not SUBDOMAIN.fullmatch(prefix):
        yield Cause(
            field,
            f"Invalid value: {quote(key)}: prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.'",
        )


STANDARD_FINALIZERS = ("orphan", "foregroundDeletion", "kubernetes")


def check_finalizers(meta: Mapping[str, Any]) -> Iterator[Cause]:
    """Built-in kinds want finalizers with a domain."""
    for index, name in enumerate(meta.get("finalizers") or ()):
        if name in STANDARD_FINALIZERS or "/" in name:
            continue
        yield from _check_key(name, "metadata.finalizers")
        message = f"Invalid value: {quote(name)}: name is neither a standard finalizer name nor is it fully qualified"
        yield Cause(f"metadata.finalizers[{index}]", message)


def finalizer_warnings(meta: Mapping[str, Any]) -> list[str]:
    """Custom kinds are only warned."""
    return [
        f"metadata.finalizers: {quote(name)}: prefer a domain-qualified finalizer name to avoid accidental conflicts with other finalizer writers"
        for name in meta.get("finalizers") or ()
        if name not in STANDARD_FINALIZERS and "/" not in name
    ]
