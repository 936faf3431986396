"""Whether the keys of an issuer can be read: RFC 7517 and 7518, as far as Envoy checks signatures. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

FORM = '{"keys": [{"kty": "RSA", "n": …, "e": …}]}'
_BASE64URL = re.compile(r"[A-Za-z0-9_-]+={0,2}")


@dataclass(frozen=True)
class Kind:
    """Members that a key of one ``kty`` needs in base64url, its curves (none: it has none), and what ``alg`` may say."""

    members: tuple[str, ...]
    curves: tuple[str, ...]
    algorithms: tuple[str, ...]


KINDS: Mapping[str, Kind] = {
    "RSA": Kind(("n", "e"), (), ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")),
    "EC": Kind(("x", "y"), ("P-256", "P-384", "P-521"), ("ES256", "ES384", "ES512")),
    "oct": Kind(("k",), (), ("HS256", "HS384", "HS512")),
    "OKP": Kind(("x",), ("Ed25519",), ("EdDSA",)),
}


class NoKeys(ValueError):
    """A text is no JWKS; the message says why, and what would be one."""


def parse_jwks(text: str) -> dict[str, Any]:
    """A JWKS with at least one key, each with a ``kty``. Raises NoKeys."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise NoKeys(f"is not JSON ({exc}), but it has to be {FORM}") from exc
    keys = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(keys, list) or not keys or not all(isinstance(key, dict) and "kty" in key for key in keys):
        raise NoKeys(f"has no `keys`, each with a `kty`, but it has to be {FORM}")
    return {**found, "keys": keys}


def unreadable_keys(jwks: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each key that Envoy passes over; never a word of what is in a key."""
    for index, key in enumerate(jwks["keys"]):
        if problem := _problem(key):
            yield f"keys[{index}] {problem}"


def _problem(key: Mapping[str, Any]) -> str:
    kind = KINDS.get(key["kty"]) if isinstance(key["kty"], str) else None
    if kind is None:
        return f"has a `kty` that is not one of {', '.join(KINDS)}"
    if bad := [name for name in kind.members if not _is_base64url(key.get(name))]:
        return f"has no `{bad[0]}` in base64url, which a key of `kty` {key['kty']} needs"
    if kind.curves and key.get("crv") not in kind.curves:
        return f"has a `crv` that is not one of {', '.join(kind.curves)}"
    if key.get("alg") is not None and key["alg"] not in kind.algorithms:
        return f"has an `alg` that is not one of {', '.join(kind.algorithms)}"
    return ""


def _is_base64url(value: Any) -> bool:
    return isinstance(value, str) and _BASE64URL.fullmatch(value) is not None
