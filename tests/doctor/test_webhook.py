"""How long the webhook's certificate is good: dates of the whole chain, of each bundle."""

from __future__ import annotations

import copy
from datetime import datetime, timedelta
from typing import Any

import pytest

from slipway.doctor.checks.webhook import CHECKS, RESTART
from tests.doctor.cluster import NOW, Cluster, certificates, encoded
from tests.doctor.pki import chain

PAIR = "slipway-system/slipway-webhook-certificate"
BUNDLE = "slipway: caBundle"
AHEAD = NOW + timedelta(days=129)


def said(cluster: Cluster, where: str) -> list[tuple[str, str]]:
    found = [item for check in CHECKS for item in check.findings(cluster.facts()) if item.where == where]
    assert all(item.repair == RESTART for item in found if item.level != "ok")
    return [(item.level, item.what) for item in found]


def hooks(cluster: Cluster) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = cluster.get("ValidatingWebhookConfiguration")["webhooks"]
    return found


def put(cluster: Cluster, bundle: bytes, shown: bytes) -> None:
    hooks(cluster)[0]["clientConfig"].update(caBundle=encoded(bundle))
    cluster.get("Secret", "slipway-webhook-certificate").update(data={"tls.crt": encoded(shown)})


@pytest.mark.parametrize("between", [False, True])
@pytest.mark.parametrize(
    ("ends", "level", "text"),
    [
        (NOW - timedelta(days=1, hours=1), "fail", "the authority that signed it ended 2 days ago"),
        (NOW + timedelta(days=2, hours=1), "warn", "the authority that signed it ends in 2 days, and was not renewed"),
        (NOW + timedelta(days=40, hours=1), "ok", "good for 40 days"),
    ],
)
def test_a_certificate_is_good_no_longer_than_who_signed_it(
    ends: datetime, level: str, text: str, *, between: bool
) -> None:
    cluster = Cluster()
    put(cluster, *chain(ends, between=between))
    assert said(cluster, PAIR) == [(level, text)]


def test_what_a_clock_ahead_made_is_not_good_yet() -> None:
    cluster = Cluster()
    put(cluster, certificates(AHEAD).authorities, certificates(AHEAD).certificate)
    for where in (PAIR, BUNDLE):
        assert said(cluster, where) == [("fail", "is good from 2026-12-31 on only: whose clock was ahead made it")]


def test_an_authority_that_has_not_begun_takes_nothing_from_one_that_is_good() -> None:
    cluster = Cluster()
    bundle, shown = chain(NOW + timedelta(days=40, hours=1), between=False)
    put(cluster, certificates(AHEAD).authorities + bundle, shown)
    assert said(cluster, BUNDLE) == [("ok", "good for 40 days")]
    assert said(cluster, PAIR) == [("ok", "good for 40 days")]


def test_each_bundle_is_asked_whether_it_trusts_the_certificate() -> None:
    cluster = Cluster()
    other = copy.deepcopy(hooks(cluster)[0])
    other["clientConfig"]["caBundle"] = encoded(certificates(NOW + timedelta(days=70)).authorities)
    hooks(cluster).append(other)
    assert [level for level, _ in said(cluster, PAIR)] == ["ok", "fail"]


def test_a_certificate_that_is_trusted_by_itself_needs_no_authority() -> None:
    cluster = Cluster()
    bundle, _ = chain(NOW + timedelta(days=40, hours=1), between=False)
    put(cluster, bundle, bundle)
    assert said(cluster, PAIR) == [("ok", "good for 40 days")]
