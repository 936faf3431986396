"""A URL → where a SeldonDeployment answers over REST and over gRPC."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from slipway.client.errors import InvalidAddress

PREDICTIONS = "/api/v1.0/predictions"
FEEDBACK = "/api/v1.0/feedback"
_THROUGH_GATEWAY = re.compile(r"(?P<base>.*/seldon/(?P<namespace>[a-z0-9.-]+)/(?P<name>[a-z0-9.-]+))/?")
_ENDPOINT = re.compile(r"/(?:api/v[01]\.[01]/predictions|predict)/?$")
_LOGIN = re.compile(r"//[^/]*@")
EXPECTED = (
    "expected http://GATEWAY/seldon/NAMESPACE/NAME, http://HOST:PORT of an executor or a component, "
    "or the full address of a route of your own"
)


@dataclass(frozen=True)
class Address:
    """``origin`` is ``http://host:port``; ``target`` the same for gRPC, ``host:port``.

    ``metadata`` is what the gateway chooses the SeldonDeployment by over gRPC. ``feedback`` is None where the address
    is a route of somebody's own, which leads to predictions only.
    """

    origin: str
    target: str
    is_tls: bool
    predictions: str
    feedback: str | None
    metadata: tuple[tuple[str, str], ...] = ()


def parse_address(url: str) -> Address:
    """Of a gateway path ``/seldon/<namespace>/<name>``, of a server (no path), or of one route, taken as it is.

    Raises:
        InvalidAddress: it is no http(s) URL, or has parts that would be lost.
    """
    shown = _LOGIN.sub("//", url)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as exc:
        raise InvalidAddress(f"{shown!r}: {exc}; {EXPECTED}") from exc
    if parts.scheme not in ("http", "https") or not host or parts.netloc.endswith(":"):  # http://http://host
        raise InvalidAddress(f"{shown!r} is no address: {EXPECTED}")
    if parts.username is not None or parts.query or parts.fragment:
        raise InvalidAddress(f"{parts.scheme}://{host}: a login, a query or a fragment has no place here; {EXPECTED}")
    is_tls = parts.scheme == "https"
    bracketed = f"[{host}]" if ":" in host else host
    target = f"{bracketed}:{port or (443 if is_tls else 80)}"
    found = _paths(parts.path)
    return Address(f"{parts.scheme}://{target}", target, is_tls, *found)


def _paths(path: str) -> tuple[str, str | None, tuple[tuple[str, str], ...]]:
    """Path of predictions, path of feedback, gRPC metadata."""
    base = _ENDPOINT.sub("", path)
    if match := _THROUGH_GATEWAY.fullmatch(base):
        metadata = (("seldon", match["name"]), ("namespace", match["namespace"]))
        return match["base"] + PREDICTIONS, match["base"] + FEEDBACK, metadata
    if base in ("", "/"):
        return PREDICTIONS, FEEDBACK, ()
    return path, None, ()
