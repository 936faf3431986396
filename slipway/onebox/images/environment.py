"""A hash-locked requirements file → a Python environment in a folder named after the lock, made once and shared."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from slipway.onebox.images.errors import EnvironmentFailed

INSTALL_TIMEOUT_S = 900.0
LAST_LINES = 15
Progress = Callable[[str], None]


def ensure_environment(folder: Path, *, lock: str, progress: Progress) -> None:
    """Make ``folder`` unless it is there. The caller holds the store's lock.

    The environment is made beside its place and renamed, so a folder of that name is always whole. Raises
    EnvironmentFailed with uv's last lines.
    """
    if (folder / "bin" / "python").exists():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = folder.with_name(f"{folder.name}.tmp")
    shutil.rmtree(unfinished, ignore_errors=True)
    progress(f"installing the Python environment {folder.name[:12]} (once per lock file)")
    try:
        _make(unfinished, lock=lock)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _make(folder: Path, *, lock: str) -> None:
    requirements = folder.with_suffix(".txt")
    requirements.write_text(lock)
    try:
        # Relocatable: its scripts do not name the folder, which is renamed when it is whole.
        _uv("venv", "--relocatable", "--python", sys.executable, str(folder))
        _uv(
            *("pip", "sync", "--python", str(folder / "bin" / "python")),
            *("--require-hashes", "--link-mode", "hardlink", "--compile-bytecode"),
            *("--allow-empty-requirements", str(requirements)),
        )
    finally:
        requirements.unlink()


def find_uv() -> str:
    """The uv beside the running interpreter, else the one on PATH. Raises EnvironmentFailed."""
    beside = Path(sysconfig.get_path("scripts")) / "uv"
    found = str(beside) if beside.is_file() else shutil.which("uv")
    if found is None:
        raise EnvironmentFailed(f"uv is neither at {beside} nor on PATH: install requirements/platform.txt")
    return found


def _uv(*arguments: str) -> None:
    argv: Sequence[str] = (find_uv(), "--quiet", "--no-progress", "--system-certs", *arguments)
    try:
        done = subprocess.run(
            argv, check=False, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as exc:
        raise EnvironmentFailed(f"uv {' '.join(arguments[:2])}: not done within {INSTALL_TIMEOUT_S:.0f} s") from exc
    if done.returncode != 0:
        lines = (done.stderr + done.stdout).strip().splitlines()[-LAST_LINES:]
        raise EnvironmentFailed(f"uv {' '.join(arguments[:2])} failed (exit {done.returncode}):\n" + "\n".join(lines))


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock file ``path``; waits for whoever holds it. The kernel frees it when its holder dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
