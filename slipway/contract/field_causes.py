"""What Kubernetes says of a field that breaks a rule, in its words (apimachinery's util/validation/field)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from slipway.contract.causes import Cause

NOT_BELOW_ZERO = "must be greater than or equal to 0"


def quote(value: Any) -> str:
    """A value as Go's ``%q`` or ``%v`` prints it in an error."""
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        inner = ", ".join(f"{quote(key)}:{quote(value[key])}" for key in sorted(value))
        return f"map[string]interface {{}}{{{inner}}}"
    return str(value)


def required(path: str, words: str = "") -> Cause:
    return Cause(path, f"Required value: {words}" if words else "Required value", "FieldValueRequired")


def invalid(path: str, value: Any, words: str) -> Cause:
    return Cause(path, f"Invalid value: {quote(value)}: {words}")


def duplicate(path: str, value: str) -> Cause:
    """``value`` as it is to be printed."""
    return Cause(path, f"Duplicate value: {value}", "FieldValueDuplicate")


def forbidden(path: str, words: str) -> Cause:
    return Cause(path, f"Forbidden: {words}", "FieldValueForbidden")


def unsupported(path: str, value: Any, known: Iterable[str]) -> Cause:
    shown = ", ".join(quote(item) for item in known)
    return Cause(path, f"Unsupported value: {quote(value)}: supported values: {shown}", "FieldValueNotSupported")
