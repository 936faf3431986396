"""What `kubectl logs -f` shows while the runner fills one log file after another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.onebox.api import followed_log
from slipway.onebox.api.followed_log import FollowedLog
from slipway.onebox.api.logs import LogOptions, read_log
from slipway.onebox.runner import logs
from slipway.onebox.runner.logs import LogFile

FILE_BYTES = 1000


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MAX_LOG_BYTES", FILE_BYTES)
    monkeypatch.setattr(followed_log, "READ_BYTES", 200)


class Printer:
    """Prints numbered lines into the log of one container."""

    def __init__(self, folder: Path) -> None:
        self._log = LogFile(folder / "0.log")
        self.close = self._log.close
        self.path = self._log.path
        self.count = 0

    def print(self, lines: int) -> None:
        for _ in range(lines):
            self._log.write("stdout", [b"line %d" % self.count])
            self.count += 1

    def fill(self) -> None:
        """Until a new file was begun."""
        before = self.path.stat().st_ino
        while self.path.stat().st_ino == before:
            self.print(1)

    def lines(self, first: int = 0) -> list[bytes]:
        return [b"line %d" % number for number in range(first, self.count)]


@pytest.fixture
def printer(tmp_path: Path) -> Iterator[Printer]:
    with closing(Printer(tmp_path)) as one:
        yield one


def _texts(lines: list[bytes]) -> list[bytes]:
    return [line.split(b" ", 3)[3].rstrip(b"\n") for line in lines]


def _drained(log: FollowedLog) -> list[bytes]:
    found: list[bytes] = []
    while lines := log.next_lines():
        found += _texts(lines)
    return found


@given(steps=st.lists(st.one_of(st.just("read"), st.just("fill"), st.integers(1, 12)), max_size=30))
def test_a_follower_sees_each_line_once_while_no_two_files_were_filled_between_its_looks(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str | int]
) -> None:
    seen: list[bytes] = []
    with closing(Printer(tmp_path_factory.mktemp("log"))) as printer, FollowedLog(printer.path) as log:
        for step in steps:
            if step == "fill":
                printer.fill()
                seen += _drained(log)
            elif step == "read":
                seen += _texts(log.next_lines())
            else:
                printer.print(int(step))
                seen += _drained(log)
        seen += _drained(log)
        assert seen == printer.lines()


def test_a_follower_that_was_slow_by_two_files_misses_nothing(printer: Printer) -> None:
    printer.print(3)
    with FollowedLog(printer.path) as log:
        printer.fill()
        printer.fill()
        assert _drained(log) == printer.lines()


def test_a_follower_that_was_slower_still_goes_on_with_the_oldest_file_that_is_kept(printer: Printer) -> None:
    printer.print(3)
    with FollowedLog(printer.path) as log:
        first_file = printer.count
        printer.fill()
        end_of_first = printer.count - 1
        printer.fill()
        start_of_third = printer.count - 1
        printer.fill()
        seen = _drained(log)
    assert first_file < end_of_first < start_of_third
    assert seen == [*printer.lines()[:end_of_first], *printer.lines(start_of_third)]


def test_a_line_is_shown_once_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    path.write_bytes(b"2026-01-01T00:00:00Z stdout F one\n2026-01-01T00:00:01Z stdout F tw")
    with FollowedLog(path) as log:
        assert _texts(list(log.present_lines())) == [b"one"]
        assert log.next_lines() == []
        with path.open("ab") as file:
            file.write(b"o\n")
        assert _texts(log.next_lines()) == [b"two"]


def test_a_follower_waits_where_the_new_file_is_not_there_yet(printer: Printer) -> None:
    printer.print(2)
    with FollowedLog(printer.path) as log:
        assert _drained(log) == printer.lines()
        printer.path.rename(printer.path.with_name("0.log.1"))
        assert log.next_lines() == []
        printer.path.write_bytes(b"2026-01-01T00:00:00Z stdout F next\n")
        assert _drained(log) == [b"next"]


@pytest.mark.parametrize("tail", [None, 0, 2])
async def test_logs_with_follow_go_on_in_the_next_file_and_end_with_the_container(
    printer: Printer, tail: int | None
) -> None:
    printer.print(5)
    over = asyncio.Event()
    chunks = read_log(printer.path, LogOptions(follow=True, tail_lines=tail), is_over=over)
    seen = await anext(chunks)
    if tail == 0:
        assert seen == b""
    for _ in range(4):
        printer.fill()
        seen += await _up_to(chunks, b"line %d\n" % (printer.count - 1))
    over.set()
    seen += b"".join([chunk async for chunk in chunks])
    assert seen.splitlines() == printer.lines(0 if tail is None else 5 - tail)


async def _up_to(chunks: AsyncIterator[bytes], end: bytes) -> bytes:
    seen = b""
    while not seen.endswith(end):
        seen += await anext(chunks)
    return seen


async def test_logs_without_follow_end_with_the_file(printer: Printer) -> None:
    printer.fill()
    printer.print(1)
    whole = b"".join([chunk async for chunk in read_log(printer.path, LogOptions(), is_over=asyncio.Event())])
    assert whole.splitlines() == printer.lines()[-2:]
