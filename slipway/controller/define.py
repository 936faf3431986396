"""Before the first look: the definition of the kind that a controller looks after, where it is told to bring one."""

from __future__ import annotations

import logging

from slipway.controller.meta import MANAGER
from slipway.crd.install import install, look
from slipway.crd.words import compared, told
from slipway.kube.access import Access
from slipway.kube.client import Kube

log = logging.getLogger(__name__)


async def define(access: Access, *, controller_id: str, adopt: bool) -> None:
    """Make ours or bring it up to date; another's stays, unless ``adopt``: then every object that changes is logged first.

    Several controllers may do this at once. Raises KubeError.
    """
    async with Kube(access, user_agent=MANAGER) as kube:
        seen = await look(kube, controller_id=controller_id)
        if adopt:
            for line in compared(seen):
                log.warning("%s", line.strip())
        for line in told(await install(kube, seen, adopt=adopt)):
            log.info("%s", line.strip())
