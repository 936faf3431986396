"""One Pod at work: asks what to do next, does it, and reports what came of it.

Everything that is decided is decided in ``next_actions``; here steps are taken and their outcomes are folded back into
what is observed.
"""

from __future__ import annotations

import asyncio
import logging
import math
import signal
import time
from collections.abc import Coroutine, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, assert_never

from slipway.kube.boot_clock import boot_time
from slipway.onebox.images.errors import ImageError, NotBuilt
from slipway.onebox.images.store import remove_tree
from slipway.onebox.runner.addresses import NoAddress
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
from slipway.onebox.runner.machine import Machine
from slipway.onebox.runner.not_honoured import REASON as NOT_HONOURED
from slipway.onebox.runner.not_honoured import is_told_of_itself, sentence
from slipway.onebox.runner.observed import (
    Observed,
    end_reason,
    exited,
    hastened,
    image_awaited,
    image_came,
    preparation_failed,
    prepared,
    probed,
    start_failed,
    started,
)
from slipway.onebox.runner.pod_holdings import PodHoldings
from slipway.onebox.runner.pod_records import SAVE_AGAIN_S, PodRecords
from slipway.onebox.runner.process import KILLED, Process
from slipway.onebox.runner.references import MissingReference
from slipway.onebox.runner.report import Report
from slipway.onebox.runner.spec import Check, InvalidPod, Pod, parse_pod
from slipway.onebox.runner.state import PodState, pinned_digests, read_state, restored
from slipway.onebox.runner.unhonoured import unhonoured_fields
from slipway.onebox.supervisor.procfs import boot_id

MAX_SLEEP_S = 60.0
POST_START_TIMEOUT_S = 60.0

log = logging.getLogger(__name__)


class PodWorker:
    """``run`` ends when the Pod has been stopped, or raises a programming error."""

    def __init__(self, obj: Mapping[str, Any], machine: Machine) -> None:
        pod = parse_pod(obj)
        state = read_state(machine.paths.pod(pod.namespace, pod.name, pod.uid))
        images = state.images if state else pinned_digests(obj)
        self._machine = machine
        self._report = Report(machine.kube, pod)
        self._holdings = PodHoldings(
            pod, machine, ip=state.ip if state else "", images=images, annotate=self._report.annotate
        )
        self._records = PodRecords(
            obj,
            self._holdings,
            report=self._report,
            machine=machine,
            start_time=state.start_time if state else None,
        )
        self._observed: Observed = restored(state) if state else Observed()
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._crash: BaseException | None = None  # a bug in a step: ``run`` raises it
        try:
            self._restore(state)
        except OSError:  # nothing has run yet of the tasks
            self._cancel_tasks()
            self._holdings.let_go()
            raise

    @property
    def pod(self) -> Pod:
        return self._holdings.pod

    @property
    def obj(self) -> Mapping[str, Any]:
        return self._records.obj

    @property
    def folder(self) -> Path:
        return self._holdings.folder

    def update(self, obj: Mapping[str, Any]) -> None:
        """The object changed: labels and annotations reach the volumes; a deletion begins the stop."""
        self._records.obj = obj
        self._holdings.pod = parse_pod(obj)
        self.refresh_volumes()
        if self.pod.is_deleted:
            self.stop("deleted")

    def stop(self, reason: str, *, grace_s: float = math.inf) -> None:
        """Within the Pod's grace period, or ``grace_s`` where that is shorter. Said again, the earliest end holds."""
        self._holdings.pod = replace(self.pod, grace_s=min(self.pod.grace_s, grace_s))
        observed = hastened(self._observed, boot_time() + self.pod.grace_s)
        if not observed.stopping:
            observed = replace(observed, stopping=reason)
        if observed != self._observed:
            self._observed = observed
            self._wake.set()

    def refresh_volumes(self) -> None:
        """Write the current contents of ConfigMaps, Secrets and own fields; nothing for a Pod that is going.

        A missing one leaves what is there, without a Warning: whoever deletes an owner deletes it before the Pods end.
        """
        if self._observed.preparation != "done" or self.pod.is_deleted or self._observed.stopping:
            return
        try:
            self._holdings.write_volumes()
        except MissingReference as exc:
            log.info("%s: its volumes stay as they are: %s", "/".join(self.pod.key), exc)
        except (InvalidPod, OSError) as exc:
            self._records.warn("FailedMount", str(exc))

    def leaders(self) -> dict[str, int]:
        """Container → its first process, for those that run."""
        return self._holdings.leaders()

    def memory_limits(self) -> dict[str, tuple[int, int]]:
        """Container → (pid, limit in bytes), for those that run and have a limit."""
        return self._holdings.memory_limits()

    def kill_for_memory(self, name: str, used_bytes: int, limit_bytes: int) -> None:
        if name in self._holdings.processes:
            message = f"container {name} used {used_bytes} bytes of memory (PSS); its limit is {limit_bytes}"
            self._records.warn("OOMKilling", message)
            self._holdings.kill_for_memory(name)

    async def run(self) -> None:
        reporting = asyncio.create_task(self._report.run())
        try:
            while not self._observed.is_finished:
                self._wake.clear()
                now = boot_time()
                for action in next_actions(self.pod, self._observed, now):
                    self._observed = begun(self._observed, action, now)
                    self._do(action)
                self._records.publish(self._observed)
                if not self._observed.is_finished:  # what fell due while the steps were taken counts: ``now`` is theirs
                    pause_s = next_due(self.pod, self._observed, now) - boot_time()
                    await self._sleep(min(SAVE_AGAIN_S if self._records.is_unsaved else MAX_SLEEP_S, pause_s))
                if self._crash is not None:
                    raise self._crash
        finally:
            await asyncio.gather(*self._cancel_tasks(), return_exceptions=True)
            self._holdings.close_outputs()
            await self._report.flush()
            reporting.cancel()
            self._holdings.release_address()

    def _cancel_tasks(self) -> list[asyncio.Task[None]]:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        return tasks

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
                self._records.note("Killing", f"Stopping container {action.container}: {action.reason}")
                self._spawn_task(self._stop(action))
            case Kill():
                self._holdings.processes[action.container].signal_group(signal.SIGKILL)
            case Drain() | Finish():
                log.info("%s: %s: %s", "/".join(self.pod.key), type(action).__name__.lower(), action.reason)
            case _:
                assert_never(action)

    def _restore(self, state: PodState | None) -> None:
        """Adopt what still lives; what died without a runner is seen as ended just now."""
        if state is None:
            return
        same_boot = state.boot == boot_id()
        for name, item in self._observed.containers.items():
            identity = state.processes.get(name)
            process = None
            if identity and same_boot and item.phase == "running":
                process = self._holdings.adopt(name, identity, restart=item.restarts)
            if process is not None:
                adopted = replace(item, running_since=process.identity.started_s)
                self._observed = self._observed.with_container(name, adopted)
                self._spawn_task(self._watch(name, process))
            elif item.phase == "running":
                self._holdings.kill_left_behind(name)
                message = "the process ended while no runner was there to see its exit code"
                self._exited(name, KILLED, "ContainerStatusUnknown", message)
            if process is None:  # whatever ended with the last runner starts again at once
                ended = replace(self._observed.of(name), crashes=0, not_before=0.0)
                self._observed = self._observed.with_container(name, ended)

    def _prepare(self) -> None:
        try:
            self._holdings.prepare()
        except (MissingReference, InvalidPod, ImageError, NoAddress, OSError) as exc:
            reason = "FailedCreatePodSandBox" if isinstance(exc, NoAddress) else "FailedMount"
            self._records.warn(reason, str(exc))
            self._observed = preparation_failed(self._observed, reason=reason, message=str(exc), now=boot_time())
        else:
            is_first = self._records.start_time is None and is_told_of_itself(self.obj)
            if is_first and (fields := unhonoured_fields(self.obj)):
                self._records.warn(NOT_HONOURED, sentence(fields))
            self._records.start_time = self._records.start_time or time.time()
            self._observed = prepared(self._observed)
        self._wake.set()

    def _start(self, action: Start) -> None:
        name, now, shown_at = action.container, boot_time(), time.time()
        container = self.pod.container(name)
        try:
            process = self._holdings.launch(name, restart=self._observed.of(name).restarts)
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
            self._observed = started(self._observed, container, now=now, shown_at=shown_at)
            self._records.save(
                self._observed
            )  # before anything else can happen: a process nobody knows of would run for ever
            self._spawn_task(self._watch(name, process))
            if container.post_start is not None:
                self._spawn_task(self._post_start(name, container.post_start))
            self._records.note_start(name, process)
        self._wake.set()

    def _await_image(self, name: str, image: str) -> None:
        message = f"{image} is built on its first use on this machine; its packages are installed once"
        self._observed = image_awaited(self._observed, name, message=message)
        self._records.note("Pulling", message)
        self._spawn_task(self._build(name, image))

    async def _build(self, name: str, image: str) -> None:
        try:
            took_s = await self._machine.first_use.build(image)
        except (ImageError, OSError) as exc:
            self._start_failed(name, "ErrImagePull", str(exc), again_s=AGAIN_S)
        else:
            self._observed = image_came(self._observed, name)
            self._records.note("Pulled", f"{image} was built in {took_s:.1f} s")
        self._wake.set()

    def _start_failed(self, name: str, reason: str, message: str, *, again_s: float | None = None) -> None:
        now = boot_time()
        self._observed = start_failed(self._observed, name, reason=reason, message=message, now=now, again_s=again_s)
        self._records.warn("Failed", f"{reason}: {message}")

    async def _watch(self, name: str, process: Process) -> None:
        code = await process.wait()
        printed, was_killed = self._holdings.ended(name)
        shown = printed if self.pod.container(name).falls_back_to_logs else ""
        reason, message = end_reason(code, printed, is_over_memory=was_killed, shown=shown)
        self._exited(name, KILLED if code is None else code, reason, message)
        again_s = self._observed.of(name).not_before - boot_time()
        if not self._observed.stopping and again_s > 0:
            self._records.warn("BackOff", f"Back-off {again_s:.0f}s restarting failed container {name}")
        self._wake.set()

    def _exited(self, name: str, code: int, reason: str, message: str) -> None:
        now, shown_at = boot_time(), time.time()
        self._observed = exited(
            self._observed, name, code=code, reason=reason, now=now, shown_at=shown_at, message=message
        )

    async def _probe(self, action: RunProbe) -> None:
        name, kind = action.container, action.kind
        container = self.pod.container(name)
        probe, process = container.probes[kind], self._holdings.processes.get(name)
        result = await self._holdings.check(name, probe.check, timeout_s=probe.timeout_s)
        if not self._holdings.is_running(name, process):
            return  # it ended meanwhile; the answer is about a run that is over
        was_ready = self._observed.of(name).is_ready
        self._observed = probed(self._observed, container, kind, is_ok=result.is_ok)
        if not result.is_ok and (kind == "liveness" or was_ready):
            message = f"{kind.capitalize()} probe failed: {result.message}"
            self._records.warn("Unhealthy", message)
        self._wake.set()

    async def _stop(self, action: StopContainer) -> None:
        """The preStop hook within the grace period, then TERM; KILL is decided when the period is over."""
        name = action.container
        hook, process = self.pod.container(name).pre_stop, self._holdings.processes.get(name)
        if hook is not None and action.grace_s > 0:
            result = await self._holdings.check(name, hook, timeout_s=action.grace_s)
            if not result.is_ok:
                self._records.warn("FailedPreStopHook", result.message)
        if process is not None and self._holdings.is_running(name, process):
            process.signal_group(signal.SIGTERM)

    async def _post_start(self, name: str, hook: Check) -> None:
        process = self._holdings.processes[name]
        result = await self._holdings.check(name, hook, timeout_s=POST_START_TIMEOUT_S)
        if not result.is_ok and self._holdings.is_running(name, process):
            self._records.warn("FailedPostStartHook", result.message)
            process.signal_group(signal.SIGKILL)

    def _spawn_task(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._crash = self._crash or error
            self._wake.set()
