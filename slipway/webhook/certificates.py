"""A certificate for the webhook, signed by an authority of its own; both are made anew before they end.

An API server trusts every authority in ``caBundle``. A new one is put there while the certificate is still the old one's,
and signs when that one is due, so that at no moment a replica shows what an API server does not trust yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_DAYS = 3 * 365
AUTHORITY_LEFT_DAYS = 180
"""A new authority is made when the newest has less left: more than a certificate lives."""
CERTIFICATE_DAYS = 90
CERTIFICATE_LEFT_DAYS = 30
SKEW = timedelta(hours=1)
"""Clocks of an API server and of ours."""
MAX_AUTHORITIES = 3
"""In the bundle: the newest, the one before it, and one more where rotations were forced."""
NAME = "slipway-webhook"


@dataclass(frozen=True)
class Certificates:
    """PEM each. ``authorities``: newest first; ``authority_key`` is the newest one's."""

    authorities: bytes
    authority_key: bytes
    certificate: bytes
    key: bytes

    def __repr__(self) -> str:
        return "Certificates(…)"  # two of the four are secrets


def renewed(found: Certificates | None, names: Sequence[str], now: datetime) -> Certificates:
    """``found`` itself where nothing is due; else with what was due made anew. ``names``: DNS names, the first is shown.

    What cannot be read, does not fit together or has ended is made anew as a whole.
    """
    parsed = None if found is None else _parse(found)
    if found is None or parsed is None or _left(parsed.authorities[0], now) < timedelta():
        return _fresh(names, now)
    if not _is_good(parsed, names, now):
        return _signed(found, parsed, names, now)
    if _left(parsed.authorities[0], now) < timedelta(days=AUTHORITY_LEFT_DAYS):
        key, authority = _make_authority(now)
        kept = [old for old in parsed.authorities if _left(old, now) > timedelta()][: MAX_AUTHORITIES - 1]
        return replace(found, authorities=b"".join(map(_pem, (authority, *kept))), authority_key=_pem_of_key(key))
    return found


@dataclass(frozen=True)
class _Parsed:
    authorities: tuple[x509.Certificate, ...]
    authority_key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate


def _parse(found: Certificates) -> _Parsed | None:
    """None where it is not ours, or where a key is not its certificate's."""
    try:
        authorities = tuple(x509.load_pem_x509_certificates(found.authorities))
        certificate = x509.load_pem_x509_certificate(found.certificate)
        keys = [serialization.load_pem_private_key(pem, None) for pem in (found.authority_key, found.key)]
    except (ValueError, TypeError):
        return None
    authority_key = keys[0]
    if not isinstance(authority_key, ec.EllipticCurvePrivateKey):
        return None
    fits = [key.public_key() for key in keys] == [authorities[0].public_key(), certificate.public_key()]
    return _Parsed(authorities, authority_key, certificate) if fits else None


def _is_good(parsed: _Parsed, names: Sequence[str], now: datetime) -> bool:
    certificate = parsed.certificate
    try:
        has = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    return (
        _left(certificate, now) >= timedelta(days=CERTIFICATE_LEFT_DAYS)
        and has.get_values_for_type(x509.DNSName) == list(names)
        and any(_is_signed_by(certificate, authority) for authority in parsed.authorities)
    )


def _is_signed_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _fresh(names: Sequence[str], now: datetime) -> Certificates:
    authority_key, authority = _make_authority(now)
    key, certificate = _make_certificate(names, authority, authority_key, now)
    return Certificates(_pem(authority), _pem_of_key(authority_key), _pem(certificate), _pem_of_key(key))


def _signed(found: Certificates, parsed: _Parsed, names: Sequence[str], now: datetime) -> Certificates:
    key, certificate = _make_certificate(names, parsed.authorities[0], parsed.authority_key, now)
    return replace(found, certificate=_pem(certificate), key=_pem_of_key(key))


def _make_authority(now: datetime) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{NAME} authority")])
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    builder = _builder(name, key, now, AUTHORITY_DAYS).issuer_name(name)
    return key, (
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _make_certificate(
    names: Sequence[str], authority: x509.Certificate, authority_key: ec.EllipticCurvePrivateKey, now: datetime
) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    builder = _builder(subject, key, now, CERTIFICATE_DAYS).issuer_name(authority.subject)
    return key, (
        builder.add_extension(alternatives, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(signer, critical=False)
        .sign(authority_key, hashes.SHA256())
    )


def _builder(subject: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, days: int) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + timedelta(days=days))
    )


def _left(certificate: x509.Certificate, now: datetime) -> timedelta:
    return certificate.not_valid_after_utc - now


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _pem_of_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, form, serialization.NoEncryption())
