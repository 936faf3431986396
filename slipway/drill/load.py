"""A generator seen from the process that wants the load: start, watch, stop, and every reply."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from slipway.drill.errors import DrillError
from slipway.drill.order import Order
from slipway.drill.reply import Effort, Reply, parse_line

LINE_BYTES = 1024 * 1024
END_S = 30.0
"""After the wish to stop: what is under way has its time, and the process ends."""
ERROR_CHARS = 2000
OPTIONAL = ("SLIPWAY_", "MLFLOW_", "AWS_", "KUBE")
"""Beginnings of variables that a generator has no business with."""


@dataclass
class Load:
    """Use as ``async with``: the load lasts as long as the block. ``replies`` grows meanwhile, in the order of arrival."""

    order: Order
    replies: list[Reply] = field(default_factory=list)
    effort: Effort | None = None
    _first: asyncio.Event = field(default_factory=asyncio.Event)

    async def __aenter__(self) -> Self:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(OPTIONAL)}
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "slipway.drill.generator"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=LINE_BYTES,
            env=environment,
        )
        self._reading = asyncio.create_task(self._read())
        self._errors = asyncio.create_task(self._read_errors())
        if self._process.stdin is None:  # pragma: no cover - asked for above
            raise RuntimeError("the generator has no input")
        self._process.stdin.write(self.order.as_line())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(self.order.timeout_s + END_S):
                await self._ended()
        except TimeoutError:
            self._process.kill()
            await self._ended()
        except DrillError:
            await self._errors
            await self._process.wait()
            if error is None:
                raise
        if error is None and (self._process.returncode or self.effort is None):
            said = (await self._errors).strip().rpartition("\n")[2]  # of a traceback the last line says what it was
            raise DrillError(f"the load's generator ended with {self._process.returncode}: {said}")

    @property
    def is_over(self) -> bool:
        """Whether the generator has ended, by itself or in an error."""
        return self._reading.done()

    async def begun(self) -> None:
        """Until the first reply, or the end: a process takes its time to start."""
        await self._first.wait()

    async def finished(self) -> None:
        """Until an order with a count is done."""
        await self._reading

    async def _ended(self) -> None:
        await self._reading
        await self._errors
        await self._process.wait()

    async def _read(self) -> None:
        if self._process.stdout is None:  # pragma: no cover - asked for above
            return
        try:
            async for line in self._process.stdout:
                self._take(parse_line(line))
        except ValueError as exc:
            with contextlib.suppress(ProcessLookupError):  # killed in the middle of a line
                self._process.kill()
            while await self._process.stdout.read(LINE_BYTES):
                pass
            raise DrillError(
                f"the load's generator wrote what is no reply, or one above {LINE_BYTES} bytes: {exc}"
            ) from exc
        finally:
            self._first.set()

    def _take(self, found: Reply | Effort) -> None:
        if isinstance(found, Effort):
            self.effort = found
        else:
            self.replies.append(found)
            self._first.set()

    async def _read_errors(self) -> str:
        kept = b""
        if self._process.stderr is not None:
            while chunk := await self._process.stderr.read(ERROR_CHARS):
                kept = (kept + chunk)[-ERROR_CHARS:]
        return kept.decode(errors="replace")
