"""The webhook's certificates by a clock that a test moves, and what a client makes of them."""

from __future__ import annotations

import ssl
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import accumulate

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError
from hypothesis import example, given, settings
from hypothesis import strategies as st

from slipway.webhook.certificates import (
    AUTHORITY_DAYS,
    AUTHORITY_LEFT_DAYS,
    CERTIFICATE_DAYS,
    CERTIFICATE_LEFT_DAYS,
    MAX_AUTHORITIES,
    SKEW,
    TOLD,
    Certificates,
    renewed,
)

NAMES = ("slipway-webhook.slipway-system.svc", "slipway-webhook.slipway-system.svc.cluster.local")
START = datetime(2026, 11, 22, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def first() -> Certificates:
    return renewed(None, NAMES, START)


def is_trusted(shown: Certificates, trusted: bytes, at: datetime) -> bool:
    """As an API server does it: the chain to an authority, the name, the time."""
    store = Store(x509.load_pem_x509_certificates(trusted))
    verifier = PolicyBuilder().store(store).time(at).build_server_verifier(x509.DNSName(NAMES[0]))
    try:
        verifier.verify(x509.load_pem_x509_certificate(shown.certificate), [])
    except VerificationError:
        return False
    return True


def authorities(found: Certificates) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(found.authorities)


def test_what_is_made_is_trusted_at_once_and_by_clocks_that_are_late(first):
    assert is_trusted(first, first.authorities, START)
    assert is_trusted(first, first.authorities, START - timedelta(minutes=50))
    assert is_trusted(first, first.authorities, START + (CERTIFICATE_DAYS - 1) * DAY)
    assert not is_trusted(first, first.authorities, START + (CERTIFICATE_DAYS + 1) * DAY)


def test_nothing_is_made_anew_before_it_is_due(first):
    for days in (0, 1, CERTIFICATE_DAYS - CERTIFICATE_LEFT_DAYS):
        assert renewed(first, NAMES, START + days * DAY) is first


def test_a_certificate_that_is_due_is_signed_by_the_same_authority(first):
    at = START + (CERTIFICATE_DAYS - CERTIFICATE_LEFT_DAYS + 1) * DAY
    later = renewed(first, NAMES, at)
    assert later.authorities == first.authorities
    assert (later.certificate, later.key) != (first.certificate, first.key)
    assert is_trusted(later, first.authorities, at)
    assert renewed(later, NAMES, at) is later


def test_every_day_of_seven_years_what_is_shown_was_trusted_a_day_before():
    """A replica and an API server that are a day behind one another in either direction go on understanding each other."""
    kept = renewed(None, NAMES, START)
    seen = {kept.authorities}
    for day in range(1, 7 * 365, 5):
        at = START + day * DAY
        now = renewed(kept, NAMES, at)
        assert is_trusted(now, kept.authorities, at), f"day {day}: the API server knows the authorities of yesterday"
        assert is_trusted(kept, now.authorities, at), f"day {day}: a replica still shows the certificate of yesterday"
        assert len(authorities(now)) <= MAX_AUTHORITIES
        kept = now
        seen.add(kept.authorities)
    assert len(seen) >= 3, "the authority was renewed, twice"


def test_a_new_authority_comes_while_the_old_one_still_signs():
    at = START + (AUTHORITY_DAYS - AUTHORITY_LEFT_DAYS + 1) * DAY
    old = renewed(None, NAMES, START)
    fresh_leaf = renewed(old, NAMES, at)
    both = renewed(fresh_leaf, NAMES, at)
    assert both.certificate == fresh_leaf.certificate
    assert len(authorities(both)) == 2
    assert renewed(both, NAMES, at) is both


def has_left(trusted: bytes, at: datetime) -> timedelta:
    return max(each.not_valid_after_utc for each in x509.load_pem_x509_certificates(trusted)) - at


MINUTE = timedelta(minutes=1)
NEAR_ITS_END = AUTHORITY_DAYS * DAY - 10 * DAY
AT_ITS_END = AUTHORITY_DAYS * DAY
GAPS = st.one_of(
    st.integers(1, 30).map(lambda minutes: minutes * MINUTE),
    st.integers(1, 200).map(lambda days: days * DAY),
    st.integers(1, AUTHORITY_DAYS + 100).map(lambda days: days * DAY),
    st.integers(-60, 60).map(lambda minutes: AT_ITS_END + minutes * MINUTE),
)


@given(st.lists(GAPS, min_size=1, max_size=12))
@example([NEAR_ITS_END, *[MINUTE] * 12, *[DAY] * 12, *[10 * DAY] * 5])
@example([AT_ITS_END - 2 * TOLD, *[MINUTE] * 30])
@example([AT_ITS_END - 2 * TOLD + MINUTE, *[MINUTE] * 30])
@settings(max_examples=60, deadline=None)
def test_after_absences_of_any_length_what_is_shown_has_been_trusted_for_a_while(gaps):
    """Looks with gaps between them; an API server is told at each look, and may lag ``TOLD`` behind."""
    kept = renewed(None, NAMES, START)
    told = [(START, kept.authorities)]
    for at in accumulate(gaps, initial=START):
        shown = renewed(kept, NAMES, at)
        told.append((at, shown.authorities))
        assert is_trusted(shown, shown.authorities, at)
        assert is_trusted(shown, shown.authorities, at + TOLD - MINUTE), "until some looks later"
        assert not is_trusted(kept, kept.authorities, at) or is_trusted(kept, shown.authorities, at), (
            "by a late replica"
        )
        early = [bundle for when, bundle in told if when <= at - TOLD]
        if early and has_left(early[-1], at) >= 2 * TOLD:
            assert is_trusted(shown, early[-1], at), f"{at - START}: by an API server that is {TOLD} behind"
        assert renewed(shown, NAMES, at) is shown
        kept = shown


@pytest.mark.parametrize("left", [179, 89, 31, 29, 10, 1])
def test_no_certificate_outlives_its_authority(left):
    old = renewed(None, NAMES, START)
    shown = renewed(old, NAMES, START + (AUTHORITY_DAYS - left) * DAY)
    end = x509.load_pem_x509_certificate(shown.certificate).not_valid_after_utc
    assert end == START + (AUTHORITY_DAYS - left + min(left, CERTIFICATE_DAYS)) * DAY
    assert is_trusted(shown, old.authorities, end)
    assert len(authorities(shown)) == 2, "the next one is told at once"


@pytest.mark.parametrize("ahead", [SKEW + MINUTE, 40 * DAY, 10 * 365 * DAY])
def test_what_a_clock_far_ahead_made_is_made_anew(first, ahead):
    """The pair alone, and all of it; clocks within SKEW of one another leave it as it is."""
    strange = renewed(None, NAMES, START + ahead)
    made = renewed(strange, NAMES, START)
    assert is_trusted(made, made.authorities, START)
    assert len(authorities(made)) == 1, "an authority that has not begun is no more trusted"
    at = START + 61 * DAY
    leaf = renewed(first, NAMES, at + ahead) if ahead < 365 * DAY else strange
    again = renewed(leaf, NAMES, at)
    assert is_trusted(again, again.authorities, at)
    assert renewed(first, NAMES, START - SKEW + MINUTE) is first


@pytest.mark.parametrize("field", ["authorities", "authority_key", "certificate", "key"])
def test_what_cannot_be_read_or_does_not_fit_is_made_anew(first, field):
    other = renewed(None, NAMES, START)
    for broken in (replace(first, **{field: b"no PEM"}), replace(first, **{field: getattr(other, field)})):
        made = renewed(broken, NAMES, START)
        assert is_trusted(made, made.authorities, START)
        assert renewed(made, NAMES, START) is made


def test_another_name_of_the_service_is_another_certificate(first):
    made = renewed(first, ("other.ns.svc",), START)
    assert made.authorities == first.authorities
    assert not is_trusted(made, made.authorities, START)


def test_after_years_without_anybody_all_is_made_anew(first):
    at = START + (AUTHORITY_DAYS + 1) * DAY
    made = renewed(first, NAMES, at)
    assert len(authorities(made)) == 1
    assert is_trusted(made, made.authorities, at)


def test_secrets_are_in_no_log(first):
    assert "KEY" not in repr(first)
    assert "BEGIN" not in f"{first}"


def test_openssl_takes_the_pair(first, tmp_path):
    pair = tmp_path / "pair.pem"
    pair.write_bytes(first.key + first.certificate)
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(pair)
