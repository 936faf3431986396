"""Certificates that sign themselves, as a Secret of type kubernetes.io/tls holds them."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Pair:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def chain(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode()

    def write(self, folder: Path, name: str) -> tuple[Path, Path]:
        """The files of its certificate and its key."""
        private = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        paths = folder / f"{name}.crt", folder / f"{name}.key"
        for path, content in zip(paths, (self.chain.encode(), private), strict=True):
            path.write_bytes(content)
        return paths


def pair_of(host: str, *, by: Pair | None = None) -> Pair:
    """A new one each time, for ``host``; valid for a day. Signed ``by`` another, else by itself as an authority is."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    issuer = by.certificate.subject if by else subject
    certificate = (
        x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
        .sign(by.key if by else key, SHA256())
    )
    return Pair(certificate, key)


def tls_secret(host: str, *, name: str = "gateway-tls", namespace: str = "istio-system", **more: str) -> dict[str, Any]:
    """A new one each time; ``more`` of its data: ``ca_crt`` is ``ca.crt``."""
    pair = pair_of(host)
    private = pair.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    data = {"tls.crt": pair.chain.encode(), "tls.key": private}
    data |= {field.replace("_", "."): text.encode() for field, text in more.items()}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": name, "namespace": namespace},
        "data": {field: base64.b64encode(content).decode() for field, content in data.items()},
    }


def chain_of(secret: dict[str, Any]) -> str:
    """Its certificate in PEM."""
    return base64.b64decode(secret["data"]["tls.crt"]).decode()
