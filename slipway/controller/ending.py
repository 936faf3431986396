"""How the Pods of a SeldonDeployment end (contract sections 2.2, 2.3 and 3.12).

On one machine the runner takes a Pod out of its Services before SIGTERM. A kubelet says SIGTERM while kube-proxy and Istio's
gateways are yet to hear of it: until they have, the executor serves as ever, and its nodes outlive it.
"""

from __future__ import annotations

from slipway.contract.sdep import Json
from slipway.controller.meta import Object
from slipway.controller.settings import Settings

GRACE_S = 20
"""Seldon's, and one machine's: between SIGTERM and SIGKILL."""
CLUSTER_DRAIN_S = 5
"""An executor serves so long after SIGTERM, not ready: time for what is not there at once on a cluster."""
PROXY_DRAIN_S = 5
"""A sidecar of Istio ends after the containers, and passes on what is under way (`terminationDrainDuration`)."""
CLUSTER_GRACE_S = GRACE_S + CLUSTER_DRAIN_S + PROXY_DRAIN_S
NODE_DELAY_S = 10
"""Seldon's: a node's container gets SIGTERM so much later. Ours wait for the executor besides; others' end at once."""
NODE_DELAY: Object = {"preStop": {"exec": {"command": ["/bin/sh", "-c", f"/bin/sleep {NODE_DELAY_S}"]}}}


def grace_s(settings: Settings) -> int:
    """`terminationGracePeriodSeconds` where the manifest says nothing."""
    return GRACE_S if settings.has_own_mesh else CLUSTER_GRACE_S


def executor_options(settings: Settings) -> dict[str, str]:
    """Arguments of the executor, without their dashes."""
    return {} if settings.has_own_mesh else {"shutdown_delay": f"{CLUSTER_DRAIN_S}s"}


def outliving(container: Json, settings: Settings) -> Object:
    """A node's container that serves until the executor has drained, where its manifest has no `lifecycle`."""
    if settings.has_own_mesh or container.get("lifecycle") is not None:
        return dict(container)
    return {**container, "lifecycle": NODE_DELAY}
