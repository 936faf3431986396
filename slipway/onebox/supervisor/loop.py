"""The supervisor: events come in, the plan says what follows, actions go out, state files tell the world."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from slipway.onebox.supervisor import process as launcher
from slipway.onebox.supervisor.errors import PortTakenError, SupervisorError
from slipway.onebox.supervisor.history import (
    BecameReady,
    Event,
    Exited,
    FellSilent,
    Forgiven,
    Phase,
    Record,
    Started,
    StartFailed,
    StopBegan,
    fold,
)
from slipway.onebox.supervisor.plan import Action, next_wake_s, plan
from slipway.onebox.supervisor.process import Process
from slipway.onebox.supervisor.procfs import descendants
from slipway.onebox.supervisor.silence import Silence
from slipway.onebox.supervisor.spec import NotReadyError, ProcessSpec
from slipway.onebox.supervisor.state import ProcessState, load_states, remove_state, write_state

SUPERVISOR = "supervisor"  # the name of its own log
PROBE_PERIOD_S = 0.1
HOUSEKEEPING_S = 30.0  # logs are looked at so often


@dataclass(frozen=True)
class Desired:
    """What somebody asked for: every process there can be, in start order, and the names of those wanted.

    ``on_taken`` is called once the supervisor works towards it.
    """

    specs: tuple[ProcessSpec, ...]
    wanted: frozenset[str]
    on_taken: Callable[[], None] = lambda: None


class Supervisor:
    """Runs until nothing is wanted and nothing runs. ``load`` reads what is desired, at start and at each reload."""

    def __init__(self, *, load: Callable[[], Desired], run: Path, logs: Path, say: Callable[[str], None]) -> None:
        self._load, self._run, self._logs, self._say = load, run, logs, say
        self._desired = Desired((), frozenset())
        self._records: dict[str, Record] = {}
        self._processes: dict[str, Process] = {}
        self._watchers: dict[str, asyncio.Task[None]] = {}
        self._inbox: asyncio.Queue[Event | signal.Signals] = asyncio.Queue()

    async def run(self) -> None:
        """Adopt what still runs, then keep the wanted processes running until all are stopped."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._inbox.put_nowait, number)
        housekeeping = asyncio.create_task(self._keep_logs_bounded())
        try:
            self._reload()
            self._adopt()
            while True:
                while self._act():  # a step may make another possible at once
                    continue
                if self._is_finished:
                    break
                await self._receive()
        finally:
            housekeeping.cancel()

    @property
    def _is_finished(self) -> bool:
        return not self._desired.wanted and all(record.phase is Phase.STOPPED for record in self._records.values())

    def _reload(self) -> None:
        desired = self._load()
        known = {spec.name for spec in desired.specs}
        leaving = tuple(spec for spec in self._desired.specs if spec.name not in known and spec.name in self._processes)
        self._desired = replace(desired, specs=desired.specs + leaving)
        for spec in self._desired.specs:
            record = self._records.setdefault(spec.name, Record(spec.name, is_task=spec.is_task))
            if record.phase in (Phase.CRASH_LOOP, Phase.BACKOFF):
                self._observe(Forgiven(record.name, time.monotonic()))
        desired.on_taken()

    def _adopt(self) -> None:
        """Take over what an earlier supervisor started; what nobody knows any more is ended."""
        specs = {spec.name: spec for spec in self._desired.specs}
        for state in load_states(self._run).values():
            if state.identity is None or not state.identity.is_alive:
                remove_state(self._run, state.name)
            elif state.name in specs:
                self._say(f"adopt {state.name}   pid {state.identity.pid}")
                self._watch(specs[state.name], Process(state.identity), state.fingerprint)
            else:
                self._say(f"kill {state.name}   not known to this version")
                launcher.signal_group(state.identity, signal.SIGKILL)
                remove_state(self._run, state.name)

    def _act(self) -> bool:
        """Take the steps of the plan; whether there were any."""
        actions = plan(self._desired.specs, self._desired.wanted, self._records, now_s=time.monotonic())
        for action in actions:
            self._say(str(action))
            if action.verb == "start":
                self._start(self._spec(action.name))
            else:
                self._stop(self._spec(action.name), action)
        return bool(actions)

    async def _receive(self) -> None:
        """Wait for the first message (or the next moment of the plan), then take all that are there."""
        wake_s = next_wake_s(self._desired.specs, self._records)
        timeout = None if wake_s is None else max(0.0, wake_s - time.monotonic())
        with contextlib.suppress(TimeoutError):
            self._take(await asyncio.wait_for(self._inbox.get(), timeout))
        while not self._inbox.empty():
            self._take(self._inbox.get_nowait())

    def _take(self, message: Event | signal.Signals) -> None:
        match message:
            case signal.SIGHUP:
                try:
                    self._reload()
                except SupervisorError as error:  # what runs goes on as it was
                    self._say(str(error))
            case FellSilent():
                self._kill_hung(message)
            case signal.Signals():
                self._desired = replace(self._desired, wanted=frozenset())
            case _:
                self._observe(message)

    def _observe(self, event: Event) -> None:
        before = self._records[event.name]
        record = self._records[event.name] = fold(before, event)
        if record.phase in (Phase.BACKOFF, Phase.CRASH_LOOP):
            self._say(f"{record.name}: {record.problem}: {record.phase}")
        elif record.phase in (Phase.READY, Phase.DONE) and before.phase is not record.phase:
            self._say(f"{record.name}: {record.phase} after {record.ready_after_s:.2f} s")
        if isinstance(event, Exited):
            self._processes.pop(event.name, None)
        try:
            self._write(record)
        except OSError as error:  # a full disk must not leave every process without a supervisor
            self._say(f"{record.name}: its state cannot be written: {error}")

    def _spec(self, name: str) -> ProcessSpec:
        return next(spec for spec in self._desired.specs if spec.name == name)

    def _log(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def _ours(self) -> Collection[int]:
        return set().union(*(descendants(process.pid) for process in self._processes.values()))

    def _start(self, spec: ProcessSpec) -> None:
        try:
            process = launcher.start(spec, log=self._log(spec.name), ours=self._ours() if spec.ports else ())
        except SupervisorError as error:
            permanent = isinstance(error, PortTakenError)
            self._observe(StartFailed(spec.name, str(error), time.monotonic(), permanent=permanent))
            return
        self._watch(spec, process, spec.fingerprint)

    def _watch(self, spec: ProcessSpec, process: Process, fingerprint: str) -> None:
        self._processes[spec.name] = process
        self._observe(Started(spec.name, process.pid, fingerprint, time.monotonic()))
        self._watchers[spec.name] = asyncio.create_task(self._follow(spec, process))

    def _stop(self, spec: ProcessSpec, action: Action) -> None:
        process = self._processes.get(spec.name)
        if process is None:  # waiting for its next attempt, or done
            self._observe(Forgiven(spec.name, time.monotonic()))
            return
        failure = action.reason if action.verb == "fail" else ""
        self._observe(StopBegan(spec.name, time.monotonic(), failure))
        process.send(spec.stop_signal)
        asyncio.get_running_loop().call_later(spec.grace_s, self._kill_if_alive, spec.name, process)

    def _kill_if_alive(self, name: str, process: Process) -> None:
        if self._processes.get(name) is process:
            self._say(f"kill {name}   did not end in time")
            process.send(signal.SIGKILL)

    def _kill_hung(self, event: FellSilent) -> None:
        process = self._processes.get(event.name)
        if process is None or process.pid != event.pid or self._records[event.name].phase is not Phase.READY:
            return
        self._observe(event)
        self._say(f"kill {event.name}   {event.failure}")
        process.send(signal.SIGKILL)

    async def _follow(self, spec: ProcessSpec, process: Process) -> None:
        """Report readiness, then the end, of one process."""
        try:
            descriptor = process.open_pidfd()
        except ProcessLookupError:
            self._inbox.put_nowait(Exited(spec.name, process.reap(), time.monotonic()))
            return
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(descriptor, ended.set)
        probing = asyncio.create_task(self._probe(spec, process))
        probing.add_done_callback(self._report_broken_probe)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)
            probing.cancel()
        code = process.reap()
        launcher.kill_session(process.pid)
        self._inbox.put_nowait(Exited(spec.name, code, time.monotonic()))

    async def _probe(self, spec: ProcessSpec, process: Process) -> None:
        if spec.probe is None:
            return
        while True:
            try:
                await spec.probe.check()
            except NotReadyError:
                await asyncio.sleep(PROBE_PERIOD_S)
                continue
            if self._records[spec.name].phase is Phase.STARTING and self._processes.get(spec.name) is process:
                self._inbox.put_nowait(BecameReady(spec.name, time.monotonic()))
            break
        silence = Silence(spec.probe, hung_after_s=spec.hung_after_s)
        silent_s = await silence.lasts()
        failure = f"did not answer for {silent_s:.0f} s"
        self._inbox.put_nowait(FellSilent(spec.name, process.pid, time.monotonic(), failure))

    def _report_broken_probe(self, probing: asyncio.Task[None]) -> None:
        if not probing.cancelled() and (error := probing.exception()) is not None:
            self._say(f"a probe failed in a way it must not: {error!r}")

    def _write(self, record: Record) -> None:
        if record.phase is Phase.STOPPED:
            remove_state(self._run, record.name)
            return
        specs = self._desired.specs
        spec = self._spec(record.name)
        process = self._processes.get(record.name)
        state = ProcessState(
            name=spec.name,
            part=spec.part,
            order=[other.name for other in specs].index(spec.name),
            phase=record.phase,
            identity=process.identity if process else None,
            fingerprint=record.fingerprint,
            grace_s=spec.grace_s,
            stop_signal=spec.stop_signal,
            ports=tuple(str(port) for port in spec.ports),
            log=str(self._log(spec.name)),
            is_task=spec.is_task,
            since=time.time() - (time.monotonic() - record.since_s),
            ready_after_s=record.ready_after_s,
            restarts=record.restarts,
            problem=record.problem,
        )
        write_state(self._run, state)

    async def _keep_logs_bounded(self) -> None:
        while True:
            for name in (*self._records, SUPERVISOR):
                try:
                    launcher.cut_log(self._log(name))
                except OSError as error:
                    self._say(f"{name}: its log cannot be cut: {error}")
            await asyncio.sleep(HOUSEKEEPING_S)


def wanted_names(specs: Sequence[ProcessSpec], names: Collection[str]) -> frozenset[str]:
    """The named processes and all that they need."""
    by_name: Mapping[str, ProcessSpec] = {spec.name: spec for spec in specs}
    found: set[str] = set()
    queue = list(names)
    while queue:
        name = queue.pop()
        if name not in found:
            found.add(name)
            queue += by_name[name].after
    return frozenset(found)
