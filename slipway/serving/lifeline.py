"""How the components of a Pod outlive its executor: each holds a connection to it that ends with the executor's work.

All containers of a Pod get SIGTERM at once. A component that closed its ports then would fail what the executor still takes
through the graph. The socket has an abstract name (unix(7)): containers of one Pod share it, as they share a network
namespace, and on a cluster nobody else reaches it. Another user of one machine may: whoever takes the name first makes
components end with their executor, or up to ``MAX_OUTLIVED_S`` after it. The executor says one byte when it begins to end,
and hangs up when it has.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from slipway.serving import limits
from slipway.serving.lifecycle import Lifecycle

ENDING = b"."
READ_BYTES = 64

logger = logging.getLogger(__name__)


def line_name(pod_ip: str) -> str:
    """``pod_ip``: the address that tells Pods of one network namespace apart; empty where there is one Pod only."""
    return f"\0slipway-executor@{pod_ip}"


@asynccontextmanager
async def lifeline(lifecycle: Lifecycle, *, pod_ip: str) -> AsyncIterator[None]:
    """An executor's side: until the block ends, components hold on to it."""
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        line.bind(line_name(pod_ip))
    except OSError as exc:
        line.close()
        logger.info("components do not wait for this executor's end, another's is here: %s", exc)
        yield
        return
    holders: set[asyncio.StreamWriter] = set()

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(holders) < limits.MAX_HOLDERS:
            holders.add(writer)
            if lifecycle.stop_asked.is_set():
                writer.write(ENDING)
            await reader.read(READ_BYTES)  # it has nothing to say: it has left, or is to leave
            holders.discard(writer)
        writer.close()

    server = await asyncio.start_unix_server(hold, sock=line)
    ending = asyncio.create_task(_tell(holders, lifecycle))
    try:
        yield
    finally:
        ending.cancel()
        server.close()
        for holder in holders:
            holder.close()


async def _tell(holders: set[asyncio.StreamWriter], lifecycle: Lifecycle) -> None:
    await lifecycle.stop_asked.wait()
    for holder in holders:
        holder.write(ENDING)


async def executor_ended(*, pod_ip: str, notice_s: float) -> None:
    """A component's side: until the Pod's executor has done its work, and no longer where it does not begin to end.

    ``notice_s``: a component that ends alone learns that it does when the executor has said nothing for so long. Where there
    is no executor, there is nothing to wait for.
    """
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    line.setblocking(False)
    try:
        line.connect(line_name(pod_ip))  # of a Unix socket at once, or not at all
    except OSError:
        line.close()
        return
    reader, writer = await asyncio.open_unix_connection(sock=line)
    try:
        async with asyncio.timeout(notice_s):
            begun = await reader.read(READ_BYTES)
        if begun:
            logger.info("waiting for the executor, which ends too")
            async with asyncio.timeout(limits.MAX_OUTLIVED_S):
                while await reader.read(READ_BYTES):
                    pass
    except (TimeoutError, OSError) as exc:
        logger.debug("not waiting for the executor: %r", exc)
    finally:
        writer.close()
