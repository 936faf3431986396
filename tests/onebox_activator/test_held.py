"""Who may wait, which fields pass through, and how long the gateway waits."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.kube.pods import Trouble
from slipway.onebox.activator.grpc_proxy import passing
from slipway.onebox.activator.headers import body_bytes, passed_on, patience_s
from slipway.onebox.activator.held import Held, Refused, is_hopeless
from slipway.onebox.activator.limits import (
    ANSWER_TIMEOUT_S,
    HOLD_S,
    MARGIN_S,
    MAX_HELD,
    MAX_HELD_BYTES,
    MAX_HELD_EACH,
    UNKNOWN_BYTES,
)
from slipway.onebox.activator.traffic import sum_traffic
from slipway.onebox.mesh.limits import MAX_HEAP_BYTES, PER_TRY_TIMEOUT_S

NAMES = ("a", "b", "c", "d", "e", "f")


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.integers(0, 64 * 2**20)), max_size=900))
def test_what_waits_never_passes_a_bound(wishes: list[tuple[str, int]]) -> None:
    held, entered = Held(), []
    for name, size in wishes:
        try:
            held.enter(("default", name), size)
        except Refused as refused:
            assert refused.retry_after_s > 0
        else:
            entered.append((name, size))
        assert held.counts.total() == len(entered) <= MAX_HELD
        assert max(held.counts.values(), default=0) <= MAX_HELD_EACH
        assert held.held_bytes <= MAX_HELD_BYTES
    for name, size in entered:
        held.leave(("default", name), size)
    assert (dict(held.counts), held.held_bytes) == ({}, 0)


def test_one_deployment_takes_its_share_and_leaves_the_rest_to_others() -> None:
    held = Held()
    for _ in range(MAX_HELD_EACH):
        held.enter(("default", "a"), 0)
    with pytest.raises(Refused, match=f"default/a is starting, and {MAX_HELD_EACH} requests wait for it already"):
        held.enter(("default", "a"), 0)
    held.enter(("default", "b"), 0)


def test_machine_holds_so_many_requests_of_all_together() -> None:
    held, names = Held(), itertools.cycle("abcdefgh")
    for _ in range(MAX_HELD):
        held.enter(("default", next(names)), 0)
    with pytest.raises(Refused, match=f"{MAX_HELD} requests wait on this machine already"):
        held.enter(("default", "i"), 0)
    held.leave(("default", "a"), 0)
    held.enter(("default", "i"), 0)


def test_bodies_that_wait_fill_their_bound_and_no_more() -> None:
    held = Held()
    held.enter(("default", "a"), MAX_HELD_BYTES)
    with pytest.raises(Refused, match=f"{MAX_HELD_BYTES} bytes of requests wait already"):
        held.enter(("default", "b"), 1)


def test_bounds_fit_those_of_the_gateway() -> None:
    assert HOLD_S + MARGIN_S < PER_TRY_TIMEOUT_S
    assert 2 * MAX_HELD_BYTES < MAX_HEAP_BYTES


@pytest.mark.parametrize(
    ("trouble", "expected"),
    [
        (None, False),
        (Trouble("Error", "model: crashed once"), False),
        (Trouble("BuildingImage", "model: its packages are installed", waits=True), False),
        (Trouble("CrashLoopBackOff", "model: no weights", waits=True), True),
        (Trouble("ErrImagePull", "model: never built", waits=True), True),
    ],
)
def test_only_what_passes_by_itself_is_waited_for(trouble: Trouble | None, expected: bool) -> None:
    assert is_hopeless(trouble) is expected


def test_fields_of_one_connection_do_not_pass() -> None:
    given_ = [
        ("Host", "yolo"),
        ("Connection", "close, X-Mine"),
        ("X-Mine", "1"),
        ("Transfer-Encoding", "chunked"),
        ("x-slipway-wakes", "a/b/c/1"),
        ("Seldon-Puid", "7"),
    ]
    assert passed_on(given_) == [("Host", "yolo"), ("Seldon-Puid", "7")]
    metadata = (("grpc-timeout", "1S"), ("content-type", "application/grpc"), ("seldon", "yolo"), ("blob-bin", b"\0"))
    assert passing(metadata) == (("seldon", "yolo"), ("blob-bin", b"\0"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [("2000", 2.0 - MARGIN_S), ("100", 0.0), ("", ANSWER_TIMEOUT_S - MARGIN_S), ("soon", ANSWER_TIMEOUT_S - MARGIN_S)],
)
def test_patience_is_the_gateways(text: str, expected: float) -> None:
    assert patience_s({"x-envoy-expected-rq-timeout-ms": text}) == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("12", 12), ("", UNKNOWN_BYTES), ("-1", UNKNOWN_BYTES), ("x", UNKNOWN_BYTES)]
)
def test_body_counts_as_declared(text: str, expected: int) -> None:
    assert body_bytes({"content-length": text}) == expected


def test_traffic_is_summed_over_ports_and_subsets_of_the_hosts() -> None:
    stats = {
        "cluster.outbound|8000|main|yolo.default.svc.cluster.local.upstream_rq_total": 3,
        "cluster.outbound|5001||yolo.default.svc.cluster.local.upstream_rq_total": 4,
        "cluster.outbound|5001||yolo.default.svc.cluster.local.upstream_rq_active": 1,
        "cluster.outbound|5001||other.default.svc.cluster.local.upstream_rq_total": 9,
    }
    traffic = sum_traffic(frozenset({"yolo.default.svc.cluster.local"}), stats)
    assert (traffic.total, traffic.active) == (7, 1)
