"""Certificates that our webhook would not make: those that live longer than who signed them."""

from __future__ import annotations

from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

LIFE = timedelta(days=400)


def chain(ends: datetime, *, between: bool) -> tuple[bytes, bytes]:
    """PEM of an authority that ends then, and of what is shown: a certificate for ``LIFE`` more, and one ``between``."""
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = _certificate("root", root_key, "root", root_key, ends)
    if not between:
        return _pem(root), _pem(_certificate("leaf", key, "root", root_key, ends + LIFE))
    middle_key = ec.generate_private_key(ec.SECP256R1())
    middle = _certificate("middle", middle_key, "root", root_key, ends + LIFE)
    return _pem(root), _pem(_certificate("leaf", key, "middle", middle_key, ends + LIFE)) + _pem(middle)


def _certificate(
    name: str, key: ec.EllipticCurvePrivateKey, signer: str, signer_key: ec.EllipticCurvePrivateKey, ends: datetime
) -> x509.Certificate:
    builder = x509.CertificateBuilder(_name(signer), _name(name), key.public_key(), x509.random_serial_number())
    return builder.not_valid_before(ends - 2 * LIFE).not_valid_after(ends).sign(signer_key, hashes.SHA256())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
