"""What an API says where an object breaks its rules: one sentence with every cause, and each cause by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol


class Cause(Protocol):
    """``reason`` is Kubernetes' CauseType, e.g. ``FieldValueInvalid``."""

    @property
    def field(self) -> str: ...
    @property
    def message(self) -> str: ...
    @property
    def reason(self) -> str: ...


@dataclass(frozen=True)
class Invalid:
    """``message`` and ``details`` of a Status with code 422 and reason ``Invalid``."""

    message: str
    details: dict[str, Any]


def invalid(kind: str, group: str, name: str, causes: Sequence[Cause]) -> Invalid:
    """A cause that comes twice is said once in the message."""
    texts = list(dict.fromkeys(f"{cause.field}: {cause.message}" for cause in causes))
    joined = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    details: dict[str, Any] = {"name": name, "group": group, "kind": kind}
    listed = [{"reason": cause.reason, "message": cause.message, "field": cause.field} for cause in causes]
    known = {key: value for key, value in details.items() if value}
    qualified = f"{kind}.{group}" if group else kind
    return Invalid(f'{qualified} "{name}" is invalid: {joined}', {**known, "causes": listed})
