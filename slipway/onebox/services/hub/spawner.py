"""One JupyterLab per hub user: `prepare` of the platform makes it ready and says what to start, line by line."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Sequence
from typing import Any

from jupyterhub.spawner import LocalProcessSpawner
from traitlets import List, Unicode

from slipway.onebox.services.hub.names import FAILED, READY

MAX_LINE_BYTES = 1 << 20
MAX_LINES = 200
"""Progress that one start keeps; more is not shown."""
INHERITED = ("LANG", "LC_ALL", "TZ")


class PreparationError(Exception):
    """The message is `prepare`'s; JupyterHub shows it to the user."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.jupyterhub_message = message


class SlipwaySpawner(LocalProcessSpawner):  # type: ignore[misc]  # JupyterHub ships no types
    """Starts the server with the home, the environment and the user number that the platform gives the user."""

    prepare_argv = List(Unicode(), help="The platform's program that makes a user ready.").tag(config=True)
    end_argv = List(Unicode(), help="The platform's program that ends what a user started.").tag(config=True)

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._lines: list[str] = []
        self._changed = asyncio.Event()
        self._prepared: dict[str, Any] = {}

    async def start(self) -> tuple[str, int]:
        """Make the user ready, then start the server; ``(address, port)``."""
        self._lines = []
        self._prepared = await self._prepare()
        self.cmd = self._prepared["argv"]
        self.popen_kwargs = {"cwd": self._prepared["cwd"], "umask": 0o077, **self._prepared["identity"]}
        address: tuple[str, int] = await super().start()
        return address

    async def stop(self, now: bool = False) -> None:
        """Stop the server, then whatever its user started beside it."""
        await super().stop(now=now)
        process = await self._platform(self.end_argv, stdout=None)
        await process.wait()

    def make_preexec_fn(self, name: str) -> None:
        """None: `subprocess` itself changes user, group and folder."""

    def user_env(self, env: dict[str, str]) -> dict[str, str]:
        return {**env, **self._prepared["env"]}

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        """The lines of `prepare`, as they come."""
        shown = 0
        while True:
            if shown < len(self._lines):
                shown += 1
                yield {"message": self._lines[shown - 1]}
            else:
                self._changed.clear()
                await self._changed.wait()

    async def _prepare(self) -> dict[str, Any]:
        profile = ("--profile", str(self.user_options.get("profile", "")))
        process = await self._platform([*self.prepare_argv, *profile], stdout=asyncio.subprocess.PIPE)
        try:
            prepared = await self._read(process)
            code = await process.wait()
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        if prepared is None:
            raise PreparationError(f"the preparation ended with exit code {code}; the hub's log says why")
        return prepared

    async def _platform(self, argv: Sequence[str], *, stdout: int | None) -> asyncio.subprocess.Process:
        """A program of the platform's, which has an interpreter of its own."""
        return await asyncio.create_subprocess_exec(
            *argv,
            *("--user", self.user.name),
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=stdout,
            limit=MAX_LINE_BYTES,
        )

    async def _read(self, process: asyncio.subprocess.Process) -> dict[str, Any] | None:
        assert process.stdout is not None  # noqa: S101  - we asked for a pipe
        prepared: dict[str, Any] | None = None
        async for raw in process.stdout:
            line = raw.decode(errors="replace").rstrip()
            if line.startswith(READY):
                prepared = json.loads(line.removeprefix(READY))
            elif line.startswith(FAILED):
                raise PreparationError(json.loads(line.removeprefix(FAILED)))
            elif len(self._lines) < MAX_LINES:
                self._lines.append(line)
                self._changed.set()
        return prepared
