"""JSON Web Tokens signed with a key of the test's own (RFC 7515, RS256)."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

FAR_FUTURE = 4_102_444_800
"""2100-01-01."""


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _number(value: int) -> str:
    return _base64(value.to_bytes((value.bit_length() + 7) // 8, "big"))


@dataclass(frozen=True)
class Issuer:
    """Signs tokens; ``jwks`` is what others know of its key."""

    name: str
    key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))

    @property
    def jwks(self) -> str:
        public = self.key.public_key().public_numbers()
        key = {"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "one", "n": _number(public.n), "e": _number(public.e)}
        return json.dumps({"keys": [key]})

    def token(self, **claims: Any) -> str:
        body = {"iss": self.name, "sub": "ada", "exp": FAR_FUTURE, **claims}
        parts = ({"alg": "RS256", "kid": "one", "typ": "JWT"}, body)
        signed = ".".join(_base64(json.dumps(part).encode()) for part in parts)
        return f"{signed}.{_base64(self.key.sign(signed.encode(), padding.PKCS1v15(), SHA256()))}"
