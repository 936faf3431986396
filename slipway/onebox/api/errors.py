"""What the API answers when it refuses: one exception that carries a Kubernetes ``Status``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from slipway.contract.causes import Cause
from slipway.kube.invalid import invalid as invalid_of


class Refused(Exception):
    """The answer to a request that fails: ``code`` is the HTTP status, ``status()`` the body."""

    def __init__(
        self,
        code: int,
        message: str,
        *,
        reason: str = "",
        details: Mapping[str, Any] | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.reason = reason
        self.details = details
        self.meta = meta or {}

    def status(self) -> dict[str, Any]:
        body: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": dict(self.meta),
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            body["reason"] = self.reason
        if self.details is not None:
            body["details"] = dict(self.details)
        body["code"] = self.code
        return body

    @property
    def retry_after_s(self) -> int | None:
        return (self.details or {}).get("retryAfterSeconds")


def describe(name: str, group: str, kind: str) -> dict[str, Any]:
    """The ``details`` of a Status: empty parts are left out."""
    return {key: value for key, value in (("name", name), ("group", group), ("kind", kind)) if value}


def qualified(plural: str, group: str) -> str:
    return f"{plural}.{group}" if group else plural


def not_found(plural: str, group: str, name: str) -> Refused:
    return Refused(
        404,
        f'{qualified(plural, group)} "{name}" not found',
        reason="NotFound",
        details=describe(name, group, plural),
    )


def no_such_path() -> Refused:
    return Refused(404, "the server could not find the requested resource", reason="NotFound", details={})


def already_exists(plural: str, group: str, name: str, *, is_ending: bool = False) -> Refused:
    prefix = "object is being deleted: " if is_ending else ""
    return Refused(
        409,
        f'{prefix}{qualified(plural, group)} "{name}" already exists',
        reason="AlreadyExists",
        details=describe(name, group, plural),
    )


def conflict(plural: str, group: str, name: str, why: str = "") -> Refused:
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    return Refused(
        409,
        f'Operation cannot be fulfilled on {qualified(plural, group)} "{name}": {why}',
        reason="Conflict",
        details=describe(name, group, plural),
    )


def bad_request(message: str) -> Refused:
    return Refused(400, message, reason="BadRequest")


def not_allowed() -> Refused:
    message = "the server does not allow this method on the requested resource"
    return Refused(405, message, reason="MethodNotAllowed", details={})


def invalid(kind: str, group: str, name: str, causes: Sequence[Cause]) -> Refused:
    """422: every cause at once, in the message and in ``details.causes``."""
    said = invalid_of(kind, group, name, causes)
    return Refused(422, said.message, reason="Invalid", details=said.details)


def expired(message: str, *, token: str = "") -> Refused:
    return Refused(410, message, reason="Expired", meta={"continue": token} if token else {})
