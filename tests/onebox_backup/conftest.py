"""A home to back up, and two ways of asking for it: a call, and the command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from slipway.onebox.backup.make import Report
from slipway.onebox.backup.restore import restore_backup
from slipway.onebox.paths import Paths
from tests.onebox_backup.homes import make_home
from tests.signals import HEARS_SIGNALS


@pytest.fixture
def home(tmp_path: Path) -> Paths:
    return make_home(tmp_path / "old" / "home")


def restored(file: Path, home: Path) -> Paths:
    restore_backup(file, Paths(home), report=Report())
    return Paths(home)


def slipway(*words: str, home: Path, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*HEARS_SIGNALS, sys.executable, "-m", "slipway.cli.main", *words],
        env={**os.environ, "SLIPWAY_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )
