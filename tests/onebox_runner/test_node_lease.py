"""The Lease of the Node: what it says, and that it is renewed again once an API is back."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from slipway.kube.client import Kube
from slipway.kube.errors import Unavailable
from slipway.onebox.runner import node_lease
from slipway.onebox.runner.node_lease import DURATION_S, RENEW_S, render_lease, renew_lease


def test_lease_says_who_and_when_as_a_kubelet_does() -> None:
    lease = render_lease(datetime(2026, 11, 22, 12, 0, 0, 5, UTC))
    assert lease["metadata"] == {"name": "onebox", "namespace": "kube-node-lease"}
    assert lease["spec"] == {
        "holderIdentity": "onebox",
        "leaseDurationSeconds": 40,
        "renewTime": "2026-11-22T12:00:00.000005Z",
    }
    assert RENEW_S * 3 < DURATION_S, "it outlives two renewals that are lost"


async def test_lease_is_renewed_after_an_outage_which_is_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(node_lease, "RENEW_S", 0)
    enough = asyncio.Event()
    applied: list[dict[str, Any]] = []

    class Api:
        async def apply(self, obj: dict[str, Any], **_: object) -> None:
            applied.append(obj)
            if len(applied) in (2, 3):
                raise Unavailable("no connection")
            if len(applied) == 5:
                enough.set()

    renewing = asyncio.create_task(renew_lease(cast("Kube", Api())))
    await asyncio.wait_for(enough.wait(), timeout=10)
    renewing.cancel()
    assert applied[4]["spec"]["renewTime"] > applied[0]["spec"]["renewTime"]
    assert [record.getMessage() for record in caplog.records] == ["the Node's Lease is not renewed: no connection"]
