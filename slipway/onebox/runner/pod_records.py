"""What is told of one Pod: its state file to the next runner, its status, annotations and events to the API."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from slipway.onebox.runner.machine import Machine
from slipway.onebox.runner.observed import Observed, without_trials
from slipway.onebox.runner.pod_holdings import PodHoldings
from slipway.onebox.runner.process import Process
from slipway.onebox.runner.report import Report
from slipway.onebox.runner.spec import Pod
from slipway.onebox.runner.state import PodState, StateFile
from slipway.onebox.runner.status import Facts, render_status
from slipway.onebox.supervisor.procfs import boot_id

SAVE_AGAIN_S = 5.0
"""After a state file that could not be written: the disk is full, for example."""


class PodRecords:
    """``obj`` is the newest that is known. ``start_time``: when the Pod was first prepared, in Unix seconds.

    ``is_unsaved``: the state file could not be written, and is to be tried again after SAVE_AGAIN_S.
    """

    def __init__(
        self,
        obj: Mapping[str, Any],
        holdings: PodHoldings,
        *,
        report: Report,
        machine: Machine,
        start_time: float | None,
    ) -> None:
        self.obj = obj
        self.start_time = start_time
        self.is_unsaved = False
        self._holdings = holdings
        self._report = report
        self._events = machine.events
        self._file = StateFile(holdings.folder)
        self._published: tuple[Observed, Facts, str, Pod] | None = None

    def note(self, reason: str, message: str) -> None:
        self._events.record(self.obj, reason, message)

    def warn(self, reason: str, message: str) -> None:
        self._events.record(self.obj, reason, message, is_warning=True)

    def note_start(self, name: str, process: Process) -> None:
        image, digest = self._holdings.pod.container(name).image, self._holdings.images[name]
        self.note("Pulled", f"Container image {image} is {digest} on this machine")
        self.note("Created", f"Created container {name}")
        self.note("Started", f"Started container {name}, process {process.identity.pid}")

    def publish(self, observed: Observed) -> None:
        """Nothing where only probes went on: they come several times a second, of every Pod."""
        holdings = self._holdings
        facts = Facts(
            ip=holdings.ip if observed.preparation == "done" else "",
            start_time=self.start_time,
            digests=dict(holdings.images),
            pids=holdings.leaders(),
        )
        known = (without_trials(observed), facts, holdings.ip, holdings.pod)
        if known == self._published and not self.is_unsaved:
            return
        self._published = known
        self.save(observed)
        previous = self._report.status or self.obj.get("status") or {}
        self._report.show(render_status(holdings.pod, observed, facts, previous=previous, now=time.time()))

    def save(self, observed: Observed) -> None:
        """What cannot be written is written later; a runner that comes before ends what it then cannot know of."""
        pod = self._holdings.pod
        state = PodState(
            namespace=pod.namespace,
            name=pod.name,
            uid=pod.uid,
            ip=self._holdings.ip,
            start_time=self.start_time,
            images=self._holdings.images,
            containers=observed.containers,
            processes={name: process.identity for name, process in self._holdings.processes.items()},
            boot=boot_id(),
        )
        try:
            self._file.write(state)
        except OSError as exc:
            if not self.is_unsaved:
                self.warn("FailedStateWrite", f"{exc}: it is tried again every {SAVE_AGAIN_S:g} s")
            self.is_unsaved = True
        else:
            self.is_unsaved = False
