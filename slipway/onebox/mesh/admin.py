"""The admin interface of one Envoy over its Unix socket: what it has taken, and whether it is ready."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import aiohttp

from slipway.onebox.mesh.limits import ADMIN_TIMEOUT_S, MAX_ADMIN_BYTES

VERSION_SUFFIX = ".version_text"


class Admin:
    """Short questions, each on a connection of its own; None means that this Envoy is not there, or says nothing in time."""

    def __init__(self, socket: Path, *, timeout_s: float = ADMIN_TIMEOUT_S) -> None:
        self.socket = socket
        self._timeout_s = timeout_s

    async def ready(self) -> bool:
        """It has its configuration and takes connections."""
        answer = await self._ask("GET", "/ready")
        return answer is not None and answer.strip() == "LIVE"

    async def versions(self) -> Mapping[str, str] | None:
        """The version of every dynamic resource it holds, by stat name without ``.version_text``.

        None only where nobody listens; TimeoutError from one that is there, and busy or stuck.
        """
        answer = await self._answer("GET", "/stats?type=TextReadouts")
        return None if answer is None else parse_versions(answer)

    async def listeners(self) -> Mapping[str, str] | None:
        """``host:port`` of each listener that it has, by name."""
        answer = await self._ask("GET", "/listeners")
        return None if answer is None else parse_listeners(answer)

    async def counter(self, name: str) -> int | None:
        """One counter or gauge, summed over clusters where ``name`` is a suffix; 0 for one that is not there."""
        answer = await self._ask("GET", f"/stats?filter={name}$")
        if answer is None:
            return None
        values = (line.rpartition(": ")[2] for line in answer.splitlines())
        return sum(int(value) for value in values if value.isdigit())

    async def stats(self, pattern: str) -> Mapping[str, int] | None:
        """Counters and gauges whose names match the regular expression, by name."""
        answer = await self.stats_text(pattern)
        return None if answer is None else parse_stats(answer)

    async def stats_text(self, pattern: str, *, buckets: bool = False) -> str | None:
        """The lines themselves; ``buckets``: histograms as ``B<bound>(<last interval>,<ever>)``, each bound with all below."""
        suffix = "&histogram_buckets=cumulative" if buckets else ""
        return await self._ask("GET", f"/stats?filter={quote(pattern)}{suffix}")

    async def reopen_logs(self) -> bool:
        return await self._ask("POST", "/reopen_logs") is not None

    async def _ask(self, method: str, path: str) -> str | None:
        try:
            return await self._answer(method, path)
        except TimeoutError:
            return None

    async def _answer(self, method: str, path: str) -> str | None:
        connector = aiohttp.UnixConnector(str(self.socket))
        try:
            async with (
                asyncio.timeout(self._timeout_s),  # aiohttp's `total` may lose a cancellation that comes with it
                aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None)) as session,
                session.request(method, f"http://envoy{path}") as response,
            ):
                body = await response.content.read(MAX_ADMIN_BYTES)
                while chunk := await response.content.read(MAX_ADMIN_BYTES - len(body)):
                    body += chunk
                return body.decode() if response.status == 200 else None
        except TimeoutError:
            raise
        except (OSError, aiohttp.ClientError):
            return None  # down or starting: the caller goes on without it


def parse_stats(text: str) -> dict[str, int]:
    """Lines ``<name>: <whole number>`` of Envoy's /stats; others, such as histograms, are left out."""
    pairs = (line.rpartition(": ") for line in text.splitlines())
    return {name: int(value) for name, _, value in pairs if value.isdigit()}


def parse_listeners(text: str) -> dict[str, str]:
    """Lines ``<name>::<address>`` of Envoy's /listeners."""
    rows = (line.partition("::") for line in text.splitlines())
    return {name: address for name, _, address in rows if address}


def parse_versions(text: str) -> dict[str, str]:
    """Lines ``<name>.version_text: "<version>"`` of Envoy's /stats."""
    found = {}
    for line in text.splitlines():
        name, _, value = line.rpartition(": ")
        if name.endswith(VERSION_SUFFIX):
            found[name.removesuffix(VERSION_SUFFIX)] = value.strip('"')
    return found
