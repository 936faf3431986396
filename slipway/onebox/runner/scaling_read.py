"""Reads what autoscalers go by: processor and memory of containers from /proc, series at the Pods' metric paths."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping

import aiohttp

from slipway.kube.scrape import Exposition, expositions
from slipway.onebox.runner.hpa_pods import Source
from slipway.onebox.runner.hpa_spec import Series
from slipway.onebox.runner.memory import used_bytes
from slipway.onebox.runner.scaling_series import Counter, Gauge, Point, parse_series
from slipway.onebox.runner.workload_steps import Object
from slipway.onebox.supervisor.procfs import cpu_seconds, process_trees

SCRAPE_TIMEOUT_S = 2.0
"""Of one metric path; a Pod that does not answer by then has no metric in this round."""
MAX_SCRAPE_BYTES = 4 * 1024 * 1024
MAX_SCRAPES = 16
"""Metric paths asked at a time."""

log = logging.getLogger(__name__)
Leaders = Mapping[str, Mapping[str, int]]
"""uid of a Pod → container → its first process."""


def read_resources(leaders: Leaders, resources: Collection[str]) -> dict[Source, Point]:
    """Seconds of processor so far, and bytes (PSS) now, of each container; one pass through /proc each."""
    pids = {(uid, name): pid for uid, containers in leaders.items() for name, pid in containers.items()}
    found: dict[Source, Point] = {}
    if "cpu" in resources:
        trees = process_trees(pids.values())
        for (uid, name), pid in pids.items():
            found[Source(uid, name, "cpu")] = Counter(sum(map(cpu_seconds, trees[pid])))
    if "memory" in resources:
        used = used_bytes(pids.values())
        for (uid, name), pid in pids.items():
            found[Source(uid, name, "memory")] = Gauge(used[pid])
    return found


async def read_series(
    session: aiohttp.ClientSession, wanted: Mapping[str, tuple[Object, Collection[Series]]]
) -> dict[Source, Point]:
    """``wanted``: uid → the Pod and its series. What does not answer in good order is missing, with a line in the log."""
    limit = asyncio.Semaphore(MAX_SCRAPES)

    async def read(uid: str, exposition: Exposition, series: Collection[Series]) -> dict[Source, Point]:
        async with limit:
            points = await _scrape(session, exposition, series)
        return {Source(uid, exposition.container, name): point for name, point in points.items()}

    asked = [read(uid, one, series) for uid, (pod, series) in wanted.items() for one in expositions(pod)]
    return {source: point for points in await asyncio.gather(*asked) for source, point in points.items()}


async def _scrape(
    session: aiohttp.ClientSession, exposition: Exposition, series: Collection[Series]
) -> dict[Series, Point]:
    timeout = aiohttp.ClientTimeout(total=None)
    try:
        async with (
            asyncio.timeout(SCRAPE_TIMEOUT_S),  # aiohttp's `total` may lose a cancellation that comes with it
            session.get(exposition.url, timeout=timeout, allow_redirects=False, ssl=False) as response,
        ):
            response.raise_for_status()
            body = await _bounded(response)
        return await asyncio.to_thread(parse_series, body.decode(errors="replace"), series)
    except (aiohttp.ClientError, TimeoutError, ValueError) as exc:
        log.info("no metrics from %s: %s", exposition.url, exc or type(exc).__name__)
        return {}


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    """Raises ValueError beyond the limit."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_SCRAPE_BYTES:
            raise ValueError(f"more than {MAX_SCRAPE_BYTES} bytes")
    return bytes(body)
