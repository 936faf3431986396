"""Images that the platform itself ships are built when a container first names one: each once, in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Collection
from dataclasses import dataclass, field

from slipway.contract.predictor_servers import SHIPPED
from slipway.onebox.images.errors import EnvironmentFailed
from slipway.onebox.paths import Paths
from slipway.onebox.services.wanted import load_wish

BUILD_TIMEOUT_S = 1200.0
"""Above what one installation may take (images/environment.py): another build may be waited for."""
AGAIN_S = 60.0
"""After a build that failed: it reaches out to a package index each time, so it is not tried every few seconds."""
LAST_CHARS = 2000
"""Of a failed build's output: what its event says."""
BUILDER = ("-m", "slipway.onebox.services.platform_images")


@dataclass
class FirstUse:
    """``shipped``: the ``NAME:TAG`` that are built unasked."""

    paths: Paths
    shipped: Collection[str] = field(default_factory=lambda: frozenset(SHIPPED.values()))
    builder: tuple[str, ...] = (sys.executable, *BUILDER)
    _building: dict[str, asyncio.Task[float]] = field(default_factory=dict)

    async def build(self, image: str) -> float:
        """The seconds that it took; whoever asks meanwhile waits for the same build. Raises EnvironmentFailed."""
        task = self._building.get(image)
        if task is None:
            task = self._building[image] = asyncio.create_task(self._run(image), name=f"build {image}")
            task.add_done_callback(lambda _: self._building.pop(image, None))
        return await asyncio.shield(task)  # one Pod that goes does not end what the others wait for

    async def close(self) -> None:
        """End what is being built; a half-made image is never seen."""
        tasks = list(self._building.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, image: str) -> float:
        began = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            *(*self.builder, "--home", str(self.paths.home), image),
            env={**os.environ, **load_wish(self.paths).environment},  # with the proxy and the index of `slipway up`
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(BUILD_TIMEOUT_S):
                output, _ = await process.communicate()
        except TimeoutError as exc:
            raise EnvironmentFailed(f"{image}: not built within {BUILD_TIMEOUT_S:.0f} s") from exc
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        if process.returncode != 0:
            raise EnvironmentFailed(
                f"{image} could not be built: {output.decode(errors='replace').strip()[-LAST_CHARS:]}"
            )
        return time.monotonic() - began
