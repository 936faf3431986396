"""Small process specs for the supervisor's tests."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from slipway.onebox.supervisor.spec import NotReadyError, ProcessSpec


@dataclass(frozen=True)
class FileProbe:
    """Ready once the file is there."""

    path: Path

    async def check(self) -> None:
        if not self.path.exists():
            raise NotReadyError(f"{self.path} is not there")


@dataclass(frozen=True)
class AlwaysReady:
    async def check(self) -> None:
        return


def python(name: str, code: str, **options: object) -> ProcessSpec:
    """A child that runs ``code``; ready at once unless the options say otherwise."""
    given = {"probe": AlwaysReady(), "env": {"PATH": os.environ["PATH"]}, "grace_s": 5.0, **options}
    return ProcessSpec(name=name, part=name, argv=(sys.executable, "-S", "-c", code), **given)  # type: ignore[arg-type]


FOREVER = "import signal; signal.pause()"
