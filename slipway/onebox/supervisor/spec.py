"""What one platform process is: a value that the plan compares and the launcher executes."""

from __future__ import annotations

import hashlib
import json
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


class Probe(Protocol):
    """Asks a process, in its own protocol, whether it is ready."""

    async def check(self) -> None:
        """Return when ready; raise ``NotReadyError`` otherwise. Bounded by the probe's own time limit."""


class NotReadyError(Exception):
    """The probe's answer was no; the message says what was asked and what came back."""


class SilentError(NotReadyError):
    """There was no answer at all within the probe's time limit."""


@dataclass(frozen=True)
class Port:
    """A TCP address the process listens on; ``flag`` is what chooses another (None: picked by us)."""

    host: str
    number: int
    flag: str | None = None

    def __str__(self) -> str:
        return f"{self.host}:{self.number}"


@dataclass(frozen=True)
class ProcessSpec:
    """One process of the platform.

    ``probe`` None makes it a task: it runs to the end, and exit code 0 is its readiness. ``after`` names processes
    that must be ready first (one that is not wanted is not waited for). ``inherited`` comes from the shell that asked
    and does not count as a change of the spec; ``env`` wins over it. ``nice`` is added to the niceness: parts
    off the serving path give way while everything starts at once. ``hung_after_s``: once ready, a process that is silent
    for so long is killed and started again.
    """

    name: str
    argv: tuple[str, ...]
    part: str = ""  # what people call it: `slipway down s3` stops every process of that part
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    inherited: Mapping[str, str] = field(default_factory=dict, repr=False)
    ports: tuple[Port, ...] = ()
    probe: Probe | None = None
    after: tuple[str, ...] = ()
    grace_s: float = 10.0
    ready_within_s: float = 60.0
    hung_after_s: float = 60.0
    stop_signal: int = signal.SIGTERM
    nice: int = 0

    @property
    def is_task(self) -> bool:
        return self.probe is None

    @property
    def fingerprint(self) -> str:
        """Changes when the process would run differently: a running one with another fingerprint is replaced."""
        content = json.dumps([self.argv, sorted(self.env.items()), self.nice, [str(port) for port in self.ports]])
        return hashlib.sha256(content.encode()).hexdigest()[:16]
