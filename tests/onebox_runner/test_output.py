"""A process that gave up its container's mark and session prints on: the runner does not wait for it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from slipway.onebox.runner.logs import Output
from tests.waiting import eventually


@contextmanager
def printing_for_ever(output: Output, text: str) -> Iterator[subprocess.Popen[bytes]]:
    with output.writers() as (stdout, stderr):
        process = subprocess.Popen(["yes", text], stdout=stdout, stderr=stderr)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def test_who_prints_for_ever_does_not_hold_up_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output, reads = Output(tmp_path / "0.log", pipes=tmp_path / "main", is_new=True), list[int]()
    with output.writers() as (stdout, _):
        os.write(stdout, b"something\n")

    def never_empty(pipe: int, most: int) -> bytes:
        reads.append(pipe)
        assert len(reads) < 100, "it reads for as long as somebody prints"
        return b"x\n" * (most // 2)

    with monkeypatch.context() as patched:
        patched.setattr(os, "read", never_empty)
        assert output.close().endswith("x\nx")
    assert len(reads) == 1


async def test_what_an_earlier_run_left_prints_into_no_later_log(tmp_path: Path) -> None:
    first = Output(tmp_path / "0.log", pipes=tmp_path / "main", is_new=True)
    with printing_for_ever(first, "left behind"):
        first.close()
        second = Output(tmp_path / "1.log", pipes=tmp_path / "main", is_new=True)
        with second.writers() as (stdout, _):
            os.write(stdout, b"hello\n")
        await eventually(lambda: (tmp_path / "1.log").read_text().endswith(" hello\n"))
        second.close()
    assert "left behind" not in (tmp_path / "1.log").read_text()
