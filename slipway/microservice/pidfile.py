"""``--pidfile``: the id of the process that signals go to, for as long as it runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slipway.microservice.settings import SettingError


@contextmanager
def written_pid(path: Path | None) -> Iterator[None]:
    """The file is there until the block ends; None for none. Raises SettingError where it cannot be written."""
    if path is None:
        yield
        return
    try:
        path.write_text(f"{os.getpid()}\n")
    except OSError as exc:
        raise SettingError(f"--pidfile: {path} cannot be written: {exc.strerror}") from exc
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
