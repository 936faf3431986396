"""A process that gave up its container's mark and session prints on: the runner does not wait for it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slipway.onebox.runner.logs import PIPE_BYTES, READ_BYTES, Output
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


async def test_who_prints_for_ever_does_not_hold_up_the_end(tmp_path: Path) -> None:
    output, log = Output(tmp_path / "0.log", pipes=tmp_path / "main", is_new=True), tmp_path / "0.log"
    with printing_for_ever(output, "x" * 4000) as left, printing_for_ever(output, "y" * 4000):
        await eventually(lambda: log.stat().st_size > PIPE_BYTES)
        before = log.stat().st_size
        assert output.close()
        assert log.stat().st_size - before <= 2 * (PIPE_BYTES + READ_BYTES)
        assert left.poll() is None


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
