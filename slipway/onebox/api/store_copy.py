"""A copy of the whole store at one moment, for backups: nobody else can open the file while the API has it."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from aiohttp import web

from slipway.onebox.api.answers import send
from slipway.onebox.api.store import Store

STORE_COPY_PATH = "/slipway/store.sqlite"
"""The administrator's only: Secrets are inside."""
CHUNK_BYTES = 1 << 18


async def send_copy(request: web.Request, store: Store, *, beside: Path) -> web.StreamResponse:
    """The answer is an SQLite file. It is made at once, between two writes, and then sent at the client's pace."""
    with tempfile.TemporaryDirectory(prefix=".copy-", dir=beside) as folder:
        file = Path(folder) / "objects.sqlite"
        store.copy_to(file)
        response = web.StreamResponse(headers={"Content-Type": "application/vnd.sqlite3", "Cache-Control": "no-store"})
        response.content_length = file.stat().st_size
        await response.prepare(request)
        with file.open("rb") as stream:
            while chunk := await asyncio.to_thread(stream.read, CHUNK_BYTES):
                await send(request, response, chunk)
        await response.write_eof()
    return response
