"""The Lease of this machine's Node, renewed as by a kubelet: `kubectl describe node` shows when the runner last was there."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import Any

from slipway.kube.client import Kube
from slipway.kube.errors import KubeError
from slipway.kube.kinds import LEASE
from slipway.kube.times import micro_time
from slipway.onebox.runner.references import NODE_NAME

NAMESPACE = "kube-node-lease"
DURATION_S = 40
"""A kubelet's own (nodeLeaseDurationSeconds); it renews four times as often."""
RENEW_S = DURATION_S / 4
MANAGER = "slipway-runner"

log = logging.getLogger(__name__)


def render_lease(moment: datetime) -> dict[str, Any]:
    return {
        "apiVersion": LEASE.api_version,
        "kind": LEASE.kind,
        "metadata": {"name": NODE_NAME, "namespace": NAMESPACE},
        "spec": {"holderIdentity": NODE_NAME, "leaseDurationSeconds": DURATION_S, "renewTime": micro_time(moment)},
    }


async def renew_lease(kube: Kube) -> None:
    """For ever. An API that is away is told of once, and asked again."""
    is_away = False
    while True:
        try:
            await kube.apply(render_lease(datetime.now(UTC)), field_manager=MANAGER, force=True)
        except KubeError as exc:
            if not is_away:
                log.warning("the Node's Lease is not renewed: %s", exc)
            is_away = True
        else:
            is_away = False
        await asyncio.sleep(RENEW_S)
