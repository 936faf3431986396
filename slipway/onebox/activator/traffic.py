"""What both Envoys have counted for the Services in front of a Deployment."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from slipway.onebox.activator.rest import Traffic
from slipway.onebox.mesh.admin import Admin
from slipway.onebox.mesh.services import index_services
from slipway.onebox.mesh.sleepers import Sleeper, stands_behind

Object = Mapping[str, Any]
TOTAL, ACTIVE = "upstream_rq_total", "upstream_rq_active"
PATTERN = rf"^cluster\..*\.({TOTAL}|{ACTIVE})$"


def hosts_of(sleeper: Sleeper, services: Iterable[Object]) -> frozenset[str]:
    """The names that Envoy's clusters give to the Services that choose its Pods."""
    found = index_services(services, (), ()).values()
    return frozenset(service.host for service in found if stands_behind(sleeper, service, {}))


def sum_traffic(hosts: frozenset[str], stats: Mapping[str, int]) -> Traffic:
    """``stats`` by Envoy's names: ``cluster.outbound|<port>|<subset>|<host>.upstream_rq_total``."""
    sums = {TOTAL: 0, ACTIVE: 0}
    for name, value in stats.items():
        cluster, _, counter = name.removeprefix("cluster.").rpartition(".")
        if counter in sums and cluster.rpartition("|")[2] in hosts:
            sums[counter] += value
    return Traffic(sums[TOTAL], sums[ACTIVE])


async def read_stats(admins: Sequence[Admin]) -> Mapping[str, int] | None:
    """Of all Envoys together; None where one did not answer, so that nothing is concluded from a part."""
    answers = await asyncio.gather(*(admin.stats(PATTERN) for admin in admins))
    summed: dict[str, int] = {}
    for answer in answers:
        if answer is None:
            return None
        for name, value in answer.items():
            summed[name] = summed.get(name, 0) + value
    return summed
