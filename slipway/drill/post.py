"""Posts photos to one address, for a generator that shares its machine with what it measures."""

from __future__ import annotations

from aiohttp import hdrs
from yarl import URL

from slipway.serving.http_client import Answer, HttpClient, Target

KEEP_S = 30.0
CONNECT_TIMEOUT_S = 5.0
MAX_ANSWER_BYTES = 16 * 1024 * 1024
HEADERS = {"Content-Type": "image/jpeg"}


class Poster:
    """Kept connections, as many as there are requests at a time. Close it when none is under way."""

    def __init__(self, url: str) -> None:
        """``url``: ``http://HOST:PORT/PATH``; ValueError for another one."""
        asked = URL(url)
        if asked.scheme != "http" or not asked.host:
            raise ValueError(f"{url}: http://HOST:PORT/PATH is expected")
        self._target = Target(asked.host, asked.port or 80, asked.host_port_subcomponent or "", asked.raw_path_qs)
        self._client = HttpClient(connect_timeout_s=CONNECT_TIMEOUT_S, keep_s=KEEP_S)

    async def post(self, photo: bytes) -> Answer:
        """What came back; errors as ``HttpClient.ask``. A cancelled one ends its connection."""
        return await self._client.ask(
            hdrs.METH_POST, self._target, headers=HEADERS, body=photo, max_bytes=MAX_ANSWER_BYTES
        )

    def close(self) -> None:
        """End the connections that nobody uses."""
        self._client.close()
