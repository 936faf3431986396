"""What can go wrong when talking to a Kubernetes API.

KubeError
  ConfigError          the kubeconfig: which file, which entry, what would be right
  Temporary            worth a retry, after ``retry_after_s`` where the server said so
    Unavailable        no answer: connection refused, reset, timed out, 5xx without a Status
    TooManyRequests    429
    ServerError        5xx with a Status: what the API was asked may have happened, or not
  ApiError             the API answered with a Status
    BadRequest 400, Unauthorized 401, Forbidden 403, NotFound 404, AlreadyExists and Conflict 409, Expired 410,
    Invalid 422, TooManyRequests 429, ServerError 5xx
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class KubeError(Exception):
    """Any failure of this package."""


class ConfigError(KubeError):
    """The kubeconfig cannot be used."""


class Temporary(KubeError):
    """The same request may succeed later; ``retry_after_s`` is the server's wish, or None."""

    retry_after_s: float | None = None


class Unavailable(Temporary):
    """The API gave no usable answer."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ApiError(KubeError):
    """The API refused: ``status`` is the Kubernetes ``Status`` object as a dict."""

    def __init__(self, status: Mapping[str, Any]) -> None:
        super().__init__(str(status.get("message") or status.get("reason") or status))
        self.status = dict(status)

    @property
    def code(self) -> int:
        return int(self.status.get("code") or 0)

    @property
    def reason(self) -> str:
        return str(self.status.get("reason") or "")

    @property
    def causes(self) -> tuple[Mapping[str, str], ...]:
        """Each with ``field``, ``message`` and ``reason``; empty where the server gave none."""
        return tuple((self.status.get("details") or {}).get("causes") or ())


class BadRequest(ApiError):
    pass


class Unauthorized(ApiError):
    pass


class Forbidden(ApiError):
    pass


class NotFound(ApiError):
    pass


class AlreadyExists(ApiError):
    pass


class Conflict(ApiError):
    """The object changed meanwhile, or another field manager owns a field of an apply."""

    @property
    def is_about_fields(self) -> bool:
        """Another manager owns fields: the same apply will not succeed later."""
        return any(cause.get("reason") == "FieldManagerConflict" for cause in self.causes)


class Expired(ApiError):
    """410: the resource version is too old, list again."""


class Invalid(ApiError):
    """422: the object breaks its schema or a rule; see ``causes``."""


class TooManyRequests(ApiError, Temporary):
    def __init__(self, status: Mapping[str, Any]) -> None:
        super().__init__(status)
        self.retry_after_s = _wish_s(status) or 1.0


class ServerError(ApiError, Temporary):
    """The API, or what is behind it (etcd, a webhook), failed: it says nothing about the request."""

    def __init__(self, status: Mapping[str, Any]) -> None:
        super().__init__(status)
        self.retry_after_s = _wish_s(status)


def _wish_s(status: Mapping[str, Any]) -> float | None:
    given = (status.get("details") or {}).get("retryAfterSeconds")
    return float(given) if isinstance(given, int | float) and given > 0 else None


SERVER_ERRORS = 500
MALFORMED_APPLY = "failed to create typed patch object"
"""A 500 that is the request's own fault: kube-apiserver says so of an apply with an unknown or repeated field."""
_BY_CODE: dict[int, type[ApiError]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Expired,
    422: Invalid,
    429: TooManyRequests,
}


def error_of(status: Mapping[str, Any]) -> ApiError:
    """The error for a ``Status`` object."""
    if status.get("reason") == "AlreadyExists":
        return AlreadyExists(status)
    code = int(status.get("code") or 0)
    is_ours = code < SERVER_ERRORS or str(status.get("message") or "").startswith(MALFORMED_APPLY)
    return _BY_CODE.get(code, ApiError if is_ours else ServerError)(status)
