"""Secrets as compose/make-secrets draws them, in a folder of the test's own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.data import REPOSITORY

Drawn = dict[str, dict[str, str]]


def draw(folder: Path) -> str:
    """Run it as it stands in the repository; what it says."""
    folder.mkdir(exist_ok=True)
    script = folder / "make-secrets"
    script.write_bytes((REPOSITORY / "compose" / "make-secrets").read_bytes())
    done = subprocess.run(["sh", str(script)], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def read(folder: Path) -> Drawn:
    """Secret → its variables; those of another form have none."""
    found: Drawn = {}
    for path in (folder / "secrets").iterdir():
        lines = [line.partition("=") for line in path.read_text().splitlines()]
        found[path.name] = {name: value for name, equals, value in lines if equals and name.isupper()}
    return found


@pytest.fixture
def drawn(tmp_path: Path) -> Drawn:
    draw(tmp_path / "compose")
    return read(tmp_path / "compose")
