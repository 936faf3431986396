"""One Pod at work: asks what to do next, does it, and reports what came of it.

Everything that is decided is decided in ``next_actions``; here steps are taken and their outcomes are folded back into
what is observed. Longer than other modules, because every step of a Pod acts on the same few fields.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import signal
import time
from collections.abc import Coroutine, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, assert_never

from slipway.onebox.images.errors import ImageError, NotBuilt
from slipway.onebox.images.store import remove_tree
from slipway.onebox.runner.addresses import NoAddress
from slipway.onebox.runner.container_run import Ground, build_command, find_image, with_argv
from slipway.onebox.runner.decide import (
    Action,
    Drain,
    Finish,
    Kill,
    Prepare,
    RunProbe,
    Start,
    StopContainer,
    begun,
    next_actions,
    next_due,
)
from slipway.onebox.runner.first_use import AGAIN_S
from slipway.onebox.runner.logs import Output
from slipway.onebox.runner.machine import Machine
from slipway.onebox.runner.observed import (
    Observed,
    end_reason,
    exited,
    image_awaited,
    image_came,
    preparation_failed,
    prepared,
    probed,
    start_failed,
    started,
    without_trials,
)
from slipway.onebox.runner.placement import TRANSLATED
from slipway.onebox.runner.probes import Result, run_check
from slipway.onebox.runner.process import (
    KILLED,
    Command,
    Process,
    adopt,
    container_mark,
    kill_marked,
    run_to_end,
    spawn,
)
from slipway.onebox.runner.references import MissingReference
from slipway.onebox.runner.report import Report
from slipway.onebox.runner.spec import Check, InvalidPod, Pod, parse_pod
from slipway.onebox.runner.state import (
    IMAGE_DIGESTS,
    PodState,
    StateFile,
    boot_id,
    pinned_digests,
    read_state,
    restored,
)
from slipway.onebox.runner.status import Facts, render_status
from slipway.onebox.runner.unhonoured import unhonoured_fields
from slipway.onebox.runner.volumes import write_volumes

PATHS = "slipway.dev/paths"
MAX_SLEEP_S = 60.0
POST_START_TIMEOUT_S = 60.0

log = logging.getLogger(__name__)


class PodWorker:
    """``run`` ends when the Pod has been stopped, or raises a programming error."""

    def __init__(self, obj: Mapping[str, Any], machine: Machine) -> None:
        self.obj = obj
        self.pod: Pod = parse_pod(obj)
        self._machine = machine
        self.folder: Path = machine.paths.pod(self.pod.namespace, self.pod.name, self.pod.uid)
        self._file = StateFile(self.folder)
        state = read_state(self.folder)
        self._observed: Observed = restored(state) if state else Observed()
        self._ip = state.ip if state else ""
        self._start_time: float | None = state.start_time if state else None
        self._images: dict[str, str] = dict(state.images) if state else pinned_digests(obj)
        self._processes: dict[str, Process] = {}
        self._commands: dict[str, Command] = {}
        self._outputs: dict[str, Output] = {}
        self._volumes: dict[str, Path] = {}
        self._killed_for_memory: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._crash: BaseException | None = None  # a bug in a step: ``run`` raises it
        self._published: tuple[Observed, Facts, str, Pod] | None = None
        self._report = Report(machine.kube, self.pod)
        self._restore(state)

    def update(self, obj: Mapping[str, Any]) -> None:
        """The object changed: labels and annotations reach the volumes; a deletion begins the stop."""
        self.obj = obj
        self.pod = parse_pod(obj)
        self.refresh_volumes()
        if self.pod.is_deleted:
            self.stop("deleted")

    def stop(self, reason: str) -> None:
        if not self._observed.stopping:
            self._observed = replace(self._observed, stopping=reason)
            self._wake.set()

    def refresh_volumes(self) -> None:
        """Write the current contents of ConfigMaps, Secrets and own fields. A missing one leaves what is there."""
        if self._observed.preparation != "done":
            return
        try:
            self._write_volumes()
        except (MissingReference, InvalidPod, OSError) as exc:
            self._warn("FailedMount", str(exc))

    def leaders(self) -> dict[str, int]:
        """Container → its first process, for those that run."""
        return {name: process.identity.pid for name, process in self._processes.items()}

    def memory_limits(self) -> dict[str, tuple[int, int]]:
        """Container → (pid, limit in bytes), for those that run and have a limit."""
        return {
            name: (process.identity.pid, limit)
            for name, process in self._processes.items()
            if (limit := self.pod.container(name).resources.memory_bytes) is not None
        }

    def kill_for_memory(self, name: str, used_bytes: int, limit_bytes: int) -> None:
        process = self._processes.get(name)
        if process is None:
            return
        self._killed_for_memory.add(name)
        message = f"container {name} used {used_bytes} bytes of memory (PSS); its limit is {limit_bytes}"
        self._warn("OOMKilling", message)
        process.signal_group(signal.SIGKILL)

    async def run(self) -> None:
        reporting = asyncio.create_task(self._report.run())
        try:
            while not self._observed.is_finished:
                self._wake.clear()
                now = time.time()
                for action in next_actions(self.pod, self._observed, now):
                    self._observed = begun(self._observed, action, now)
                    self._do(action)
                self._publish()
                if not self._observed.is_finished:  # what fell due while the steps were taken counts: ``now`` is theirs
                    await self._sleep(min(MAX_SLEEP_S, next_due(self.pod, self._observed, now) - time.time()))
                if self._crash is not None:
                    raise self._crash
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            for output in self._outputs.values():
                output.close()
            await self._report.flush()
            reporting.cancel()
            self._machine.addresses.release(self._ip)

    def remove_folder(self) -> None:
        """Also where a container left folders that it made read-only."""
        if self.folder.exists():
            remove_tree(self.folder)

    async def _sleep(self, pause_s: float) -> None:
        if pause_s <= 0 and not math.isinf(pause_s):
            await asyncio.sleep(0)
            return
        try:
            async with asyncio.timeout(pause_s):
                await self._wake.wait()
        except TimeoutError:
            return

    def _do(self, action: Action) -> None:
        match action:
            case Prepare():
                self._prepare()
            case Start():
                self._start(action)
            case RunProbe():
                self._spawn_task(self._probe(action))
            case StopContainer():
                self._machine.events.record(
                    self.obj, "Killing", f"Stopping container {action.container}: {action.reason}"
                )
                self._spawn_task(self._stop(action))
            case Kill():
                self._processes[action.container].signal_group(signal.SIGKILL)
            case Drain() | Finish():
                log.info("%s: %s: %s", "/".join(self.pod.key), type(action).__name__.lower(), action.reason)
            case _:
                assert_never(action)

    def _restore(self, state: PodState | None) -> None:
        """Adopt what still lives; what died without a runner is seen as ended just now."""
        if state is None:
            return
        same_boot = state.boot == boot_id()
        now = time.time()
        for name, item in self._observed.containers.items():
            identity = state.processes.get(name)
            process = (
                adopt(identity, mark=self._mark(name)) if identity and same_boot and item.phase == "running" else None
            )
            if process is not None:
                log.info("%s: adopted %s, process %d", "/".join(self.pod.key), name, process.identity.pid)
                self._processes[name] = process
                self._open_output(name)
                self._spawn_task(self._watch(name, process))
            elif item.phase == "running":
                kill_marked(self._mark(name))
                message = "the process ended while no runner was there to see its exit code"
                self._observed = exited(
                    self._observed, name, code=KILLED, reason="ContainerStatusUnknown", now=now, message=message
                )
            if process is None:  # whatever ended with the last runner starts again at once
                ended = replace(self._observed.of(name), crashes=0, not_before=0.0)
                self._observed = self._observed.with_container(name, ended)

    def _prepare(self) -> None:
        is_alive = bool(self._processes)
        ports = sorted({port for item in self.pod.containers for port in item.port_numbers})
        try:
            self._ip = self._machine.addresses.claim(ports=ports, wanted=self._ip, is_running=is_alive)
            self._ground().tmp.mkdir(parents=True, exist_ok=True)
            self._write_volumes()
            for name in self._processes:
                self._commands[name] = self._command(name)
        except (MissingReference, InvalidPod, ImageError, NoAddress, OSError) as exc:
            reason = "FailedCreatePodSandBox" if isinstance(exc, NoAddress) else "FailedMount"
            self._warn(reason, str(exc))
            self._observed = preparation_failed(self._observed, reason=reason, message=str(exc), now=time.time())
        else:
            if self._start_time is None and (fields := unhonoured_fields(self.obj)):
                self._warn("NotHonoured", f"not carried out on this machine: {', '.join(fields)}")
            self._start_time = self._start_time or time.time()
            self._observed = prepared(self._observed)
        self._wake.set()

    def _write_volumes(self) -> None:
        self._volumes = write_volumes(
            self.pod, self.folder, sources=self._machine.sources(), ip=self._ip, claims=self._machine.claims
        )

    def _start(self, action: Start) -> None:
        name, now = action.container, time.time()
        container = self.pod.container(name)
        try:
            command = self._command(name)
            process = self._launch(name, command)
        except NotBuilt as exc:
            if container.image in self._machine.first_use.shipped:
                self._await_image(name, container.image)
            else:
                self._start_failed(name, "ErrImagePull", str(exc))
        except ImageError as exc:
            self._start_failed(name, "ErrImagePull", str(exc))
        except (MissingReference, InvalidPod) as exc:
            self._start_failed(name, "CreateContainerConfigError", str(exc))
        except (OSError, ValueError) as exc:
            self._start_failed(name, "CreateContainerError", str(exc))
        else:
            self._commands[name] = command
            self._processes[name] = process
            self._observed = started(self._observed, container, now=now)
            self._save()  # before anything else can happen: a process nobody knows of would run for ever
            self._spawn_task(self._watch(name, process))
            if container.post_start is not None:
                self._spawn_task(self._post_start(name, container.post_start))
            self._record_start(name, process)
        self._wake.set()

    def _await_image(self, name: str, image: str) -> None:
        message = f"{image} is built on its first use on this machine; its packages are installed once"
        self._observed = image_awaited(self._observed, name, message=message)
        self._machine.events.record(self.obj, "Pulling", message)
        self._spawn_task(self._build(name, image))

    async def _build(self, name: str, image: str) -> None:
        try:
            took_s = await self._machine.first_use.build(image)
        except (ImageError, OSError) as exc:
            self._start_failed(name, "ErrImagePull", str(exc), again_s=AGAIN_S)
        else:
            self._observed = image_came(self._observed, name)
            self._machine.events.record(self.obj, "Pulled", f"{image} was built in {took_s:.1f} s")
        self._wake.set()

    def _launch(self, name: str, command: Command) -> Process:
        self._open_output(name)
        try:
            with self._outputs[name].writers() as (stdout, stderr):
                return spawn(command, stdout=stdout, stderr=stderr, mark=self._mark(name))
        except (OSError, ValueError):
            self._outputs.pop(name).close()
            raise

    def _command(self, name: str) -> Command:
        """The command of a container; its image's digest is chosen the first time."""
        container = self.pod.container(name)
        image = find_image(container, self._machine, digest=self._images.get(name))
        command = build_command(container, self.pod, image=image, ground=self._ground(), machine=self._machine)
        if name not in self._images:
            self._images[name] = image.digest
            self._report.annotate(IMAGE_DIGESTS, json.dumps(self._images, sort_keys=True))
        if command.placement.mode == TRANSLATED:
            self._report.annotate(PATHS, TRANSLATED)
        return command

    def _record_start(self, name: str, process: Process) -> None:
        image, digest = self.pod.container(name).image, self._images[name]
        for reason, message in (
            ("Pulled", f"Container image {image} is {digest} on this machine"),
            ("Created", f"Created container {name}"),
            ("Started", f"Started container {name}, process {process.identity.pid}"),
        ):
            self._machine.events.record(self.obj, reason, message)

    def _start_failed(self, name: str, reason: str, message: str, *, again_s: float | None = None) -> None:
        now = time.time()
        self._observed = start_failed(self._observed, name, reason=reason, message=message, now=now, again_s=again_s)
        self._warn("Failed", f"{reason}: {message}")

    async def _watch(self, name: str, process: Process) -> None:
        code = await process.wait()
        printed = self._outputs.pop(name).close()
        del self._processes[name]
        was_killed = name in self._killed_for_memory
        self._killed_for_memory.discard(name)
        shown = printed if self.pod.container(name).falls_back_to_logs else ""
        reason, message = end_reason(code, printed, is_over_memory=was_killed, shown=shown)
        code, now = KILLED if code is None else code, time.time()
        self._observed = exited(self._observed, name, code=code, reason=reason, now=now, message=message)
        state = self._observed.of(name)
        if not self._observed.stopping and state.not_before > now:
            message = f"Back-off {state.not_before - now:.0f}s restarting failed container {name}"
            self._warn("BackOff", message)
        self._wake.set()

    async def _probe(self, action: RunProbe) -> None:
        name, kind = action.container, action.kind
        container = self.pod.container(name)
        probe, process = container.probes[kind], self._processes.get(name)
        result = await self._check(name, probe.check, probe.timeout_s)
        if process is None or self._processes.get(name) is not process:
            return  # it ended meanwhile; the answer is about a run that is over
        was_ready = self._observed.of(name).is_ready
        self._observed = probed(self._observed, container, kind, is_ok=result.is_ok)
        if not result.is_ok and (kind == "liveness" or was_ready):
            message = f"{kind.capitalize()} probe failed: {result.message}"
            self._warn("Unhealthy", message)
        self._wake.set()

    async def _check(self, name: str, check: Check, timeout_s: float) -> Result:
        async def execute(argv: tuple[str, ...], limit_s: float) -> int | None:
            return await run_to_end(with_argv(self._commands[name], argv), timeout_s=limit_s)

        return await run_check(check, ip=self._ip, timeout_s=timeout_s, session=self._machine.session, execute=execute)

    async def _stop(self, action: StopContainer) -> None:
        """The preStop hook within the grace period, then TERM; KILL is decided when the period is over."""
        name = action.container
        hook, process = self.pod.container(name).pre_stop, self._processes.get(name)
        if hook is not None and action.grace_s > 0:
            result = await self._check(name, hook, action.grace_s)
            if not result.is_ok:
                self._warn("FailedPreStopHook", result.message)
        if process is not None and self._processes.get(name) is process:
            process.signal_group(signal.SIGTERM)

    async def _post_start(self, name: str, hook: Check) -> None:
        process = self._processes[name]
        result = await self._check(name, hook, POST_START_TIMEOUT_S)
        if not result.is_ok and self._processes.get(name) is process:
            self._warn("FailedPostStartHook", result.message)
            process.signal_group(signal.SIGKILL)

    def _open_output(self, name: str) -> None:
        pod, restart = self.pod, self._observed.of(name).restarts
        log = self._machine.paths.container_log(pod.namespace, pod.name, pod.uid, container=name, restart=restart)
        self._outputs[name] = Output(log, pipes=self.folder / name)

    def _warn(self, reason: str, message: str) -> None:
        self._machine.events.record(self.obj, reason, message, is_warning=True)

    def _mark(self, name: str) -> str:
        return container_mark(self._machine.paths, self.pod.uid, name)

    def _ground(self) -> Ground:
        return Ground(self.folder, self._ip, self._volumes)

    def _publish(self) -> None:
        """Nothing where only probes went on: they come several times a second, of every Pod."""
        facts = Facts(
            ip=self._ip if self._observed.preparation == "done" else "",
            start_time=self._start_time,
            digests=dict(self._images),
            pids={name: process.identity.pid for name, process in self._processes.items()},
        )
        known = (without_trials(self._observed), facts, self._ip, self.pod)
        if known == self._published:
            return
        self._published = known
        self._save()
        previous = self._report.status or self.obj.get("status") or {}
        self._report.show(render_status(self.pod, self._observed, facts, previous=previous, now=time.time()))

    def _save(self) -> None:
        self._file.write(
            PodState(
                namespace=self.pod.namespace,
                name=self.pod.name,
                uid=self.pod.uid,
                ip=self._ip,
                start_time=self._start_time,
                images=self._images,
                containers=self._observed.containers,
                processes={name: process.identity for name, process in self._processes.items()},
                boot=boot_id(),
            ),
        )

    def _spawn_task(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._crash = self._crash or error
            self._wake.set()
