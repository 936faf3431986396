"""A certificate for the webhook, signed by an authority of its own; both are made anew before they end.

An API server trusts every authority in ``caBundle``. A new one is put there while the certificate is still the old one's,
and signs when that one is due, so that at no moment a replica shows what an API server does not trust yet. Nothing lives
longer than who signed it: an API server looks at the dates of both (RFC 5280, 6.1.3).
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
TOLD = timedelta(minutes=10)
"""An authority signs when API servers have known it for so long; what has less left counts as ended. Some looks of a replica."""
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

    What cannot be read, does not fit together, has ended or has not begun is made anew as a whole. After an absence an
    authority near its end signs once more, until that end, and a new one stands beside it that signs when it is known.
    """
    parsed = None if found is None else _parse(found)
    if found is None or parsed is None:
        return _fresh((), names, now)
    newest = parsed.authorities[0]
    if not _is_valid(newest, now, 2 * TOLD):
        return _fresh(parsed.authorities, names, now)
    is_known = now - (newest.not_valid_before_utc + SKEW) >= TOLD
    is_due = not _holds(parsed, names, now, timedelta(days=CERTIFICATE_LEFT_DAYS))
    made = found
    if is_due and (is_known or not _holds(parsed, names, now, TOLD)):
        made = _signed(found, parsed, names, now)
    if _is_valid(newest, now, timedelta(days=AUTHORITY_LEFT_DAYS)):
        return made
    key, authority = _make_authority(now)
    return replace(made, authorities=_bundle(authority, parsed.authorities, now), authority_key=_pem_of_key(key))


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


def _holds(parsed: _Parsed, names: Sequence[str], now: datetime, left: timedelta) -> bool:
    """Does an API server take the certificate now, and for ``left`` more?"""
    certificate = parsed.certificate
    try:
        has = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    return (
        _is_valid(certificate, now, left)
        and has.get_values_for_type(x509.DNSName) == list(names)
        and any(_is_valid(each, now, left) and _is_signed_by(certificate, each) for each in parsed.authorities)
    )


def _is_valid(certificate: x509.Certificate, now: datetime, left: timedelta) -> bool:
    """Has it begun, and is ``left`` left? One from a clock far ahead has not begun."""
    return certificate.not_valid_before_utc <= now and certificate.not_valid_after_utc - now >= left


def _is_signed_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _fresh(before: Sequence[x509.Certificate], names: Sequence[str], now: datetime) -> Certificates:
    """``before``: authorities that go on being trusted as long as they are valid."""
    authority_key, authority = _make_authority(now)
    key, certificate = _make_certificate(names, authority, authority_key, now)
    bundle = _bundle(authority, before, now)
    return Certificates(bundle, _pem_of_key(authority_key), _pem(certificate), _pem_of_key(key))


def _bundle(newest: x509.Certificate, before: Sequence[x509.Certificate], now: datetime) -> bytes:
    kept = [each for each in before if _is_valid(each, now, timedelta())][: MAX_AUTHORITIES - 1]
    return b"".join(map(_pem, (newest, *kept)))


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
    builder = _builder(name, key, now, now + timedelta(days=AUTHORITY_DAYS)).issuer_name(name)
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
    end = min(now + timedelta(days=CERTIFICATE_DAYS), authority.not_valid_after_utc)
    builder = _builder(subject, key, now, end).issuer_name(authority.subject)
    return key, (
        builder.add_extension(alternatives, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(signer, critical=False)
        .sign(authority_key, hashes.SHA256())
    )


def _builder(
    subject: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(end)
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _pem_of_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, form, serialization.NoEncryption())
