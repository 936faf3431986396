"""Every check, in the order in which what they find is best repaired."""

from __future__ import annotations

from slipway.doctor.check import Check
from slipway.doctor.checks import (
    controller,
    definition,
    deployments,
    dns,
    gateway,
    mesh,
    metrics,
    namespace,
    nodes,
    permissions,
    storage,
    versions,
    webhook,
)

CHECKS: tuple[Check, ...] = (
    *versions.CHECKS,
    *nodes.CHECKS,
    *dns.CHECKS,
    *permissions.CHECKS,
    *definition.CHECKS,
    *controller.CHECKS,
    *webhook.CHECKS,
    *storage.CHECKS,
    *gateway.CHECKS,
    *mesh.CHECKS,
    *metrics.CHECKS,
    *namespace.CHECKS,
    *deployments.CHECKS,
)
