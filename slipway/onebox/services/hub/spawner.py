"""One JupyterLab per hub user: `prepare` of the platform makes it ready and says what to start, line by line."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from jupyterhub.spawner import LocalProcessSpawner
from traitlets import Integer, List, Unicode

from slipway.onebox.services.hub.inheritance import platform_environment
from slipway.onebox.services.hub.limits import (
    CULL_EVERY_S,
    END_WITHIN_S,
    GIVE_UP_WITHIN_S,
    IDLE_S,
    KILLED_FIRST,
    MAX_PROCESSES,
)
from slipway.onebox.services.hub.names import FAILED, READY
from slipway.onebox.services.hub.sentences import SHUT_OUT
from slipway.onebox.supervisor.procfs import Identity, identify

MAX_LINE_BYTES = 1 << 20
MAX_LINES = 200
"""Progress that one start keeps; more is not shown."""
INHERITED = ("LANG", "LC_ALL", "TZ")
ARGUMENTS = (
    "--KernelManager.transport_encryption=required",  # other users of this machine can connect to a kernel's ports
    "--LabApp.news_url=None",  # nothing is fetched from the network
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    "--LabApp.extension_manager=readonly",
)


class PreparationError(Exception):
    """The message is `prepare`'s; JupyterHub shows it to the user."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.jupyterhub_message = message


class SlipwaySpawner(LocalProcessSpawner):  # type: ignore[misc]  # JupyterHub ships no types
    """Starts the server with the home, the environment and the user number that the platform gives the user."""

    prepare_argv = List(Unicode(), help="The platform's program that makes a user ready.").tag(config=True)
    end_argv = List(Unicode(), help="The platform's program that ends what a user started.").tag(config=True)
    idle_s = Integer(IDLE_S, min=1, help="A server, and a kernel, of which nobody hears for so long ends.").tag(
        config=True
    )
    cull_every_s = Integer(CULL_EVERY_S, min=1, help="How often is looked for idle ones.").tag(config=True)

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._lines: list[str] = []
        self._changed = asyncio.Event()
        self._prepared: dict[str, Any] = {}
        self._process: Identity | None = None
        self._preparation: asyncio.subprocess.Process | None = None
        self._may_start = True

    async def start(self) -> tuple[str, int]:
        """Make the user ready, then start the server; ``(address, port)``."""
        self._lines = []
        self._prepared = await self._prepare()
        self.cmd = self._prepared["argv"]
        self.popen_kwargs = {"cwd": self._prepared["cwd"], "umask": 0o077, **self._prepared["identity"]}
        address: tuple[str, int] = await super().start()
        self._process = identify(self.pid)
        _let_end_first(self.pid)
        return address

    async def give_up(self) -> None:
        """The start under way, whose user was shut out meanwhile: it ends before the server begins, or with it."""
        self._may_start = False
        if self._preparation is not None:
            await _give_up(self._preparation)
        if self.pid:
            await self.stop(now=True)

    def get_args(self) -> list[str]:
        """The hub's, then the owner's (``c.Spawner.args``)."""
        idle = (f"--MappingKernelManager.cull_idle_timeout={self.idle_s}",)
        return [*ARGUMENTS, *idle, f"--MappingKernelManager.cull_interval={self.cull_every_s}", *super().get_args()]

    async def run_post_stop_hook(self) -> None:
        """End whatever the user started beside the server: also where that ended by itself, or never came up."""
        process = await self._platform(self.end_argv, stdout=None)
        try:
            await asyncio.wait_for(process.wait(), END_WITHIN_S)
        except TimeoutError:
            process.kill()
            self.log.exception("%s: not ended within %d s", self._log_name, END_WITHIN_S)
        if self.post_stop_hook:
            await super().run_post_stop_hook()

    # -- the same process after a restart of the hub: its number may be somebody else's by then

    def get_state(self) -> dict[str, Any]:
        """What JupyterHub stores, with the start of the process."""
        started = (
            {} if self._process is None else {"start_ticks": self._process.start_ticks, "boot": self._process.boot}
        )
        return {**super().get_state(), **started}

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self._process = Identity(self.pid, state.get("start_ticks", 0), state.get("boot", ""))

    def clear_state(self) -> None:
        """Also what JupyterHub does first when a server is to start."""
        super().clear_state()
        self._process, self._may_start = None, True

    async def poll(self) -> int | None:
        """None while the server runs, else its exit code, 0 where only an earlier hub could know it."""
        if self.proc is None and self.pid and not self._is_same():
            self.clear_state()
            return 0
        code: int | None = await super().poll()
        return code

    async def _signal(self, sig: int) -> bool:
        return (self.proc is not None or self._is_same()) and bool(await super()._signal(sig))

    def _is_same(self) -> bool:
        return self._process is not None and self._process.is_alive

    def make_preexec_fn(self, _name: str) -> Callable[[], None]:
        """`subprocess` itself changes user, group and folder; this is what the process does last before it is the server."""
        return partial(_limit_itself, is_own_user=bool(self._prepared["identity"]))

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
        words = (f"--profile={self.user_options.get('profile', '')}", f"--memory-bytes={self.mem_limit or 0}")
        process = await self._platform([*self.prepare_argv, *words], stdout=asyncio.subprocess.PIPE)
        self._preparation = process
        try:
            prepared = await self._read(process)
            code = await process.wait()
        except asyncio.CancelledError:  # the start took too long
            await _give_up(process)
            raise
        finally:
            self._preparation = None
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        if not self._may_start:
            raise PreparationError(SHUT_OUT)
        if prepared is None:
            raise PreparationError(f"the preparation ended with exit code {code}; the hub's log says why")
        return prepared

    async def _platform(self, argv: Sequence[str], *, stdout: int | None) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *argv,
            *("--user", self.user.name),
            env=platform_environment(os.environ),
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


async def _give_up(process: asyncio.subprocess.Process) -> None:
    """Let it end what it started."""
    with contextlib.suppress(ProcessLookupError, TimeoutError):
        process.terminate()
        await asyncio.wait_for(process.wait(), GIVE_UP_WITHIN_S)


def _limit_itself(*, is_own_user: bool) -> None:
    """In the new process, whose children inherit it. From outside it would need CAP_SYS_RESOURCE, which containers lack."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if is_own_user:  # else the limit would count the platform's own processes too
        resource.setrlimit(resource.RLIMIT_NPROC, (MAX_PROCESSES, MAX_PROCESSES))


def _let_end_first(pid: int) -> None:
    """From outside, because a process that changed its user may not; one that has ended already is none."""
    with contextlib.suppress(ProcessLookupError, FileNotFoundError):
        Path(f"/proc/{pid}/oom_score_adj").write_text(str(KILLED_FIRST))
