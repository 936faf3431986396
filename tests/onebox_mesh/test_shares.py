"""Two Envoys count alone: what both together let through of a limit (docs/traffic.md)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.onebox.mesh.ir import RateLimit
from slipway.onebox.mesh.layout import ENVOYS
from slipway.onebox.mesh.render_filters import token_bucket
from slipway.onebox.mesh.translate import Site, translate
from tests.onebox_mesh.world import destination_rule, virtual_service, world

STABLE = "outbound|8000|stable|yolo-stable.default.svc.cluster.local"


@given(st.integers(1, 10**6), st.sampled_from([1.0, 60.0, 3600.0]))
def test_rate_of_both_is_the_limit_and_an_odd_one_lets_one_more_through_at_once(count: int, period_s: float) -> None:
    bucket = token_bucket(RateLimit(count, period_s))
    interval_s = float(bucket["fill_interval"].removesuffix("s"))
    assert len(ENVOYS) * bucket["tokens_per_fill"] / interval_s == pytest.approx(count / period_s)
    assert len(ENVOYS) * bucket["max_tokens"] == count + count % 2


@pytest.mark.parametrize(("limit", "each"), [(1, 1), (2, 1), (3, 2), (16, 8)])
def test_requests_at_a_time_are_halved_and_rounded_up(limit: int, each: int) -> None:
    rule = destination_rule("stable", connectionPool={"http": {"http2MaxRequests": limit}})
    objects = world([virtual_service({"stable": 100})], {"stable": {"127.20.0.1": True}}, rules=[rule])
    found = {cluster.name: cluster for cluster in translate(objects, Site("127.0.0.1", 8080, "/page.html")).clusters}
    assert found[STABLE].policy.max_requests == each
