"""A container's log as it grows: the runner renames a full file to ``<name>.1`` and goes on in a new one of the same name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Self

READ_BYTES = 64 * 1024


class FollowedLog:
    """Whole lines of one log, each once, in the order they were written. Raises OSError where there is no such file.

    After a rename the runner writes to the new file only, so the old one is read to its end and then left. Lines are
    missing only where a log was filled twice more while nobody read: the runner keeps no third file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] = path.open("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def lines(self) -> list[bytes]:
        """The next lines of the file that is read now, about ``READ_BYTES``; none at its end."""
        lines = self._file.readlines(READ_BYTES)
        if lines and not lines[-1].endswith(b"\n"):  # a line that is still being written
            self._file.seek(-len(lines.pop()), os.SEEK_CUR)
        return lines

    def present_lines(self) -> Iterator[bytes]:
        """All that the file that is read now still has."""
        while lines := self.lines():
            yield from lines

    def next_lines(self) -> list[bytes]:
        """The next lines, of the file that came after this one where this is read to its end; none where no more are there."""
        while not (lines := self.lines()):
            later = self._later()
            if later is None:
                return []
            if lines := self.lines():  # written between the look at the end and the rename
                later.close()
                return lines
            self._file.close()
            self._file = later
        return lines

    def _later(self) -> IO[bytes] | None:
        """The file that was begun next, open at its start; None where this one is the newest, or its log was removed.

        The newest is opened first: what is then called ``.1`` is this file, one that came after it, or that newest one.
        """
        newest = _opened(self._path)
        if newest is None:
            return None  # between the rename and the new file, or removed with its Pod
        if _is_same(newest, self._file):
            newest.close()
            return None
        full = _opened(self._path.with_name(f"{self._path.name}.1"))
        if full is None:
            return newest
        if _is_same(full, self._file) or _is_same(full, newest):
            full.close()
            return newest
        newest.close()
        return full


def _opened(path: Path) -> IO[bytes] | None:
    try:
        return path.open("rb")
    except FileNotFoundError:
        return None


def _is_same(one: IO[bytes], other: IO[bytes]) -> bool:
    return os.path.samestat(os.fstat(one.fileno()), os.fstat(other.fileno()))
