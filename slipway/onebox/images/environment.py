"""A hash-locked requirements file → a Python environment in a folder named after the lock, made once and shared.

uv installs the lock. Pins without hashes come after it, by pip and its settings on this machine, which choose between the
builds of one version (a CPU's, a GPU's).
"""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from slipway.onebox.images.errors import EnvironmentFailed

INSTALL_TIMEOUT_S = 900.0
LAST_LINES = 15
WAITING = "waiting: what this build needs is being made or removed by another"
Progress = Callable[[str], None]


def ensure_environment(folder: Path, *, lock: str, unhashed: Sequence[str] = (), progress: Progress) -> None:
    """Make ``folder`` unless it is there; who else wants it meanwhile waits. The caller holds a share of the store.

    The environment is made beside its place and renamed, so a folder of that name is always whole. Raises
    EnvironmentFailed with the last lines of uv or pip.
    """
    with exclusive(lock_of(folder), progress=progress):
        if (folder / "bin" / "python").exists():
            return
        unfinished = folder.with_name(f"{folder.name}.tmp")
        shutil.rmtree(unfinished, ignore_errors=True)
        progress(f"installing the Python environment {folder.name[:12]} (once per lock file)")
        try:
            _make(unfinished, lock=lock)
            if unhashed:
                progress(f"installing {' '.join(unhashed)} (large, once)")
                _add_unhashed(unfinished, unhashed, final=folder)
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


def _add_unhashed(folder: Path, pins: Sequence[str], *, final: Path) -> None:
    """What the pins need and the lock has stays as the lock says; pip adds the rest (a GPU build brings libraries)."""
    constraints = folder.with_suffix(".constraints.txt")
    python = str(folder / "bin" / "python")
    constraints.write_text(_uv("pip", "freeze", "--python", python))
    pip = (sys.executable, "-m", "pip", "--python", python, "--quiet", "--no-input", "--disable-pip-version-check")
    try:
        _run("pip install", (*pip, "install", "--constraint", str(constraints), *pins))
    finally:
        constraints.unlink()
    _retarget_scripts(folder, final)


def _retarget_scripts(folder: Path, final: Path) -> None:
    """Scripts that pip wrote name the folder, which is about to be renamed, in their first line (or second, if long)."""
    for script in sorted((folder / "bin").iterdir()):
        if script.is_symlink() or not script.is_file():
            continue
        content = script.read_bytes()
        if content.startswith(b"#!"):
            script.write_bytes(content.replace(f"{folder}/bin/".encode(), f"{final}/bin/".encode()))


def find_uv() -> str:
    """The uv beside the running interpreter, else the one on PATH. Raises EnvironmentFailed."""
    beside = Path(sysconfig.get_path("scripts")) / "uv"
    found = str(beside) if beside.is_file() else shutil.which("uv")
    if found is None:
        raise EnvironmentFailed(f"uv is neither at {beside} nor on PATH: install requirements/platform.txt")
    return found


def _uv(*arguments: str) -> str:
    argv = (find_uv(), "--quiet", "--no-progress", "--system-certs", *arguments)
    return _run(f"uv {' '.join(arguments[:2])}", argv)


def _run(what: str, argv: Sequence[str]) -> str:
    """The program's output. Raises EnvironmentFailed."""
    try:
        done = subprocess.run(
            argv, check=False, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as exc:
        raise EnvironmentFailed(f"{what}: not done within {INSTALL_TIMEOUT_S:.0f} s") from exc
    if done.returncode != 0:
        lines = (done.stderr + done.stdout).strip().splitlines()[-LAST_LINES:]
        raise EnvironmentFailed(f"{what} failed (exit {done.returncode}):\n" + "\n".join(lines))
    return done.stdout


def lock_of(folder: Path) -> Path:
    """The lock file of who makes ``folder``."""
    return folder.with_name(f"{folder.name}.lock")


def exclusive(path: Path, *, progress: Progress) -> AbstractContextManager[None]:
    """Hold the lock file ``path`` alone."""
    return _locked(path, fcntl.LOCK_EX, progress)


def shared(path: Path, *, progress: Progress) -> AbstractContextManager[None]:
    """Hold the lock file ``path`` beside others who share it, while nobody holds it alone."""
    return _locked(path, fcntl.LOCK_SH, progress)


@contextmanager
def _locked(path: Path, kind: int, progress: Progress) -> Iterator[None]:
    """Tells that it waits for whoever holds the lock. The kernel frees it when its holder dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as stream:
        try:
            fcntl.flock(stream, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            progress(WAITING)
            fcntl.flock(stream, kind)
        yield
