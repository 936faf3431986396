"""What one Pod holds on this machine: its address, its volumes, and of each container the command, process and output.

Nothing is decided here, and nothing of it is an outcome: what came of a step is what a method returns or raises.
"""

from __future__ import annotations

import json
import logging
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

from slipway.onebox.runner.container_run import Ground, build_command, find_image, with_argv
from slipway.onebox.runner.logs import Output
from slipway.onebox.runner.machine import Machine
from slipway.onebox.runner.marks import container_mark, kill_marked
from slipway.onebox.runner.placement import TRANSLATED
from slipway.onebox.runner.probes import Result, run_check
from slipway.onebox.runner.process import (
    Command,
    Identity,
    Process,
    adopt,
    run_to_end,
    spawn,
)
from slipway.onebox.runner.spec import Check, Pod
from slipway.onebox.runner.state import IMAGE_DIGESTS
from slipway.onebox.runner.volumes import write_volumes

PATHS = "slipway.dev/paths"

log = logging.getLogger(__name__)


class PodHoldings:
    """``pod`` is the newest that is known. ``annotate`` is told what the Pod's annotations are to say of it.

    ``images``: container → digest, chosen once. ``processes``: container → its process, of those that run.
    """

    def __init__(
        self, pod: Pod, machine: Machine, *, ip: str, images: Mapping[str, str], annotate: Callable[[str, str], None]
    ) -> None:
        self.pod = pod
        self.folder: Path = machine.paths.pod(pod.namespace, pod.name, pod.uid)
        self.ip = ip
        self.images = dict(images)
        self.processes: dict[str, Process] = {}
        self._machine = machine
        self._annotate = annotate
        self._commands: dict[str, Command] = {}
        self._outputs: dict[str, Output] = {}
        self._volumes: dict[str, Path] = {}
        self._killed_for_memory: set[str] = set()
        self._known: set[str] = set()  # containers of which nothing runs that this runner does not know
        self._is_new = not self.folder.exists()

    def prepare(self) -> None:
        """The address, the folders and the volumes. Raises NoAddress, MissingReference, InvalidPod, ImageError, OSError."""
        is_alive = bool(self.processes)
        ports = sorted({port for item in self.pod.containers for port in item.port_numbers})
        self.ip = self._machine.addresses.claim(ports=ports, wanted=self.ip, is_running=is_alive)
        self._ground().tmp.mkdir(parents=True, exist_ok=True)
        self.write_volumes()
        for name in self.processes:
            self._commands[name] = self._command(name)

    def write_volumes(self) -> None:
        """With the current contents of ConfigMaps, Secrets and own fields. Raises MissingReference, InvalidPod, OSError."""
        self._volumes = write_volumes(
            self.pod, self.folder, sources=self._machine.sources(), ip=self.ip, claims=self._machine.claims
        )

    def launch(self, name: str, *, restart: int) -> Process:
        """Raises ImageError, MissingReference, InvalidPod; OSError and ValueError where there is no such program."""
        command = self._command(name)
        if not self._is_new and name not in self._known:
            self.kill_left_behind(name)  # started by an earlier runner that could not write it down
        self._open_output(name, restart, is_new=True)
        try:
            with self._outputs[name].writers() as (stdout, stderr):
                process = spawn(command, stdout=stdout, stderr=stderr, mark=self._mark(name))
        except (OSError, ValueError):
            self._outputs.pop(name).close()
            raise
        self._commands[name] = command
        self.processes[name] = process
        return process

    def adopt(self, name: str, identity: Identity, *, restart: int) -> Process | None:
        """The process that an earlier runner started, where it still lives."""
        process = adopt(identity, mark=self._mark(name))
        if process is not None:
            self.processes[name] = process
            self._open_output(name, restart, is_new=False)
            self._known.add(name)
            log.info("%s: adopted %s, process %d", "/".join(self.pod.key), name, process.identity.pid)
        return process

    def ended(self, name: str) -> tuple[str, bool]:
        """Let go of a container whose process has ended: (what it printed at last, whether it was killed for its memory)."""
        printed = self._outputs.pop(name).close()
        del self.processes[name]
        was_killed = name in self._killed_for_memory
        self._killed_for_memory.discard(name)
        return printed, was_killed

    def kill_for_memory(self, name: str) -> None:
        self._killed_for_memory.add(name)
        self.processes[name].signal_group(signal.SIGKILL)

    def kill_left_behind(self, name: str) -> None:
        """What is left of a container whose own process has ended, or that nobody knows of."""
        kill_marked(self._mark(name))
        self._known.add(name)

    def is_running(self, name: str, process: Process | None) -> bool:
        """Whether it is still that process which runs."""
        return process is not None and self.processes.get(name) is process

    async def check(self, name: str, check: Check, *, timeout_s: float) -> Result:
        """One probe or hook, in the container where it is a command."""

        async def execute(argv: tuple[str, ...], limit_s: float) -> int | None:
            return await run_to_end(with_argv(self._commands[name], argv), timeout_s=limit_s)

        return await run_check(check, ip=self.ip, timeout_s=timeout_s, session=self._machine.session, execute=execute)

    def leaders(self) -> dict[str, int]:
        """Container → its first process, for those that run."""
        return {name: process.identity.pid for name, process in self.processes.items()}

    def memory_limits(self) -> dict[str, tuple[int, int]]:
        """Container → (pid, limit in bytes), for those that run and have a limit."""
        return {
            name: (pid, limit)
            for name, pid in self.leaders().items()
            if (limit := self.pod.container(name).resources.memory_bytes) is not None
        }

    def close_outputs(self) -> None:
        for output in self._outputs.values():
            output.close()

    def let_go(self) -> None:
        """Processes run on, and what they print waits in their pipes."""
        self.close_outputs()
        for process in self.processes.values():
            process.let_go()

    def release_address(self) -> None:
        self._machine.addresses.release(self.ip)

    def _command(self, name: str) -> Command:
        """The command of a container; its image's digest is chosen the first time."""
        container = self.pod.container(name)
        image = find_image(container, self._machine, digest=self.images.get(name))
        command = build_command(container, self.pod, image=image, ground=self._ground(), machine=self._machine)
        if name not in self.images:
            self.images[name] = image.digest
            self._annotate(IMAGE_DIGESTS, json.dumps(self.images, sort_keys=True))
        if command.placement.mode == TRANSLATED:
            self._annotate(PATHS, TRANSLATED)
        return command

    def _open_output(self, name: str, restart: int, *, is_new: bool) -> None:
        pod = self.pod
        path = self._machine.paths.container_log(pod.namespace, pod.name, pod.uid, container=name, restart=restart)
        self._outputs[name] = Output(path, pipes=self.folder / name, is_new=is_new)

    def _mark(self, name: str) -> str:
        return container_mark(self._machine.paths, self.pod.uid, name)

    def _ground(self) -> Ground:
        return Ground(self.folder, self.ip, self._volumes)
