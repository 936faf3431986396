"""``tls`` of a Gateway's HTTPS server and the Secrets it names → its certificate, and whom it asks for one. Pure.

Fields and Secrets are Istio's: https://istio.io/latest/docs/reference/config/networking/gateway/#ServerTLSSettings
"""

from __future__ import annotations

import base64
import binascii
import re
import ssl
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from slipway.onebox.mesh.fields import Reader
from slipway.onebox.mesh.ir import Certificate, ClientCheck

Object = Mapping[str, Any]
Secrets = Mapping[tuple[str, str], Object]
"""(namespace, name) → Secret."""
SIMPLE, MUTUAL, OPTIONAL = "SIMPLE", "MUTUAL", "OPTIONAL_MUTUAL"
VERSIONS = ("TLSV1_0", "TLSV1_1", "TLSV1_2", "TLSV1_3")
"""Envoy's names are these with a small ``v``."""
AUTOMATIC = "TLS_AUTO"
FIELDS = {"mode", "credentialName", "minProtocolVersion", "maxProtocolVersion"}
CLIENT_FIELDS = {*FIELDS, "caCertCredentialName", "caCertificates", "subjectAltNames"}
AUTHORITY_KEYS = ("cacert", "ca.crt")
REVOKED = "ca.crl"
_BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----", re.ASCII)
"""Without what bundles say between their certificates, in whatever letters."""


@dataclass(frozen=True)
class Tls:
    """``client``: None where nobody is asked for a certificate. ``versions``: lowest and highest, empty for Envoy's own."""

    certificate: Certificate
    client: ClientCheck | None = None
    versions: tuple[str, str] = ("", "")


def read_tls(server: Reader, secrets: Secrets) -> Tls | None:
    """None, with a finding, where the server cannot be served as it says: it is not served in any other way."""
    protocol, tls = server.child("port").text("protocol"), server.child("tls")
    mode, name = tls.text("mode"), tls.text("credentialName")
    if protocol.upper() != "HTTPS" or mode not in (SIMPLE, MUTUAL, OPTIONAL) or not name:
        server.elsewhere(
            "port.protocol",
            f"{protocol!r}: the gateway of one machine speaks HTTP, and HTTPS with tls.mode {SIMPLE}, {MUTUAL} or "
            f"{OPTIONAL} and a credentialName",
        )
        return None
    server.only({"port", "hosts", "name", "tls"})
    tls.only(FIELDS if mode == SIMPLE else CLIENT_FIELDS)
    certificate = _certificate(tls, name, secrets)
    client = None if mode == SIMPLE else _client(tls, name, secrets, is_required=mode == MUTUAL)
    if certificate is None or (client is None and mode != SIMPLE):
        return None
    return Tls(certificate, client, (_version(tls, "minProtocolVersion"), _version(tls, "maxProtocolVersion")))


def _certificate(tls: Reader, name: str, secrets: Secrets) -> Certificate | None:
    secret = secrets.get((tls.namespace, name))
    chain, key = (
        _pem(secret, field, marker) for field, marker in (("tls.crt", "CERTIFICATE"), ("tls.key", "PRIVATE KEY"))
    )
    if chain and key:
        return Certificate(tls.namespace, name, chain, key)
    _report(tls, "credentialName", " has no tls.crt and tls.key in PEM", secret, name)
    return None


def _report(tls: Reader, key: str, what: str, secret: Object | None, *names: str) -> None:
    """``names``: of the Secrets that ``secret`` may be."""
    if secret is None:
        tls.lacks(key, f"there is no {_where(tls, names)}: this server is not served")
    else:
        tls.report(key, f"{_where(tls, names)}{what}: this server is not served")


def _where(tls: Reader, names: Iterable[str]) -> str:
    return " or ".join(f"Secret {tls.namespace}/{each}" for each in names)


def _client(tls: Reader, name: str, secrets: Secrets, *, is_required: bool) -> ClientCheck | None:
    """Istio looks into ``<credentialName>-cacert`` before the Secret itself."""
    own = tls.text("caCertCredentialName")
    names = (own,) if own else (f"{name}-cacert", name)
    secret = next((found for each in names if (found := secrets.get((tls.namespace, each)))), None)
    texts = (_pem(secret, key, "CERTIFICATE") for key in AUTHORITY_KEYS)
    authorities = "".join(f"{block}\n" for text in texts for block in _BLOCK.findall(text))
    if tls.data.get("caCertificates"):
        tls.elsewhere(
            "caCertificates", "is a file of a cluster's gateway Pod: here ca.crt of a Secret says whom to trust"
        )
    key = "caCertCredentialName" if own else "credentialName"
    if problem := _problem(authorities):
        _report(tls, key, f": ca.crt {problem}", secret, *names)
    elif REVOKED in ((secret or {}).get("data") or {}):
        tls.elsewhere(
            key, f"{_where(tls, names)}: {REVOKED} is not looked at on one machine: this server is not served"
        )
    else:
        return ClientCheck(authorities, tuple(sorted(_texts(tls, "subjectAltNames"))), is_required=is_required)
    return None


def _problem(authorities: str) -> str:
    """Envoy refuses its whole listener for authorities that it cannot read."""
    if not authorities:
        return "has no certificate in PEM"
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=authorities)
    except ssl.SSLError as exc:
        return f"cannot be read ({exc.reason or 'not PEM'})"
    return ""


def _texts(reader: Reader, key: str) -> Iterator[str]:
    yield from (str(item) for item in reader.items(key))


def _version(tls: Reader, key: str) -> str:
    version = tls.text(key)
    if version in VERSIONS:
        return version.replace("V", "v")
    if version not in ("", AUTOMATIC):
        tls.report(key, f"{version!r} is not one of {', '.join((AUTOMATIC, *VERSIONS))}: Envoy's own is used")
    return ""


def _pem(secret: Object | None, field: str, marker: str) -> str:
    data = (secret or {}).get("data") or {}
    try:
        text = base64.b64decode(str(data.get(field) or ""), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
    return text if f"{marker}-----" in text else ""
