"""Children that misbehave in every way we could think of: each is ended, in time, with an error that says how."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from model_wrappers.darknet.engines import child_pipe
from model_wrappers.darknet.engines.child_pipe import ERRORS_TAIL_BYTES, MAX_ANSWER_BYTES, ChildPipe
from model_wrappers.darknet.errors import EngineError
from tests.waiting import wait_until

READ = "import json, sys, time; request = json.loads(sys.stdin.buffer.readline()); sys.stdin.buffer.read(request['bytes'])\n"
SAY = "def say(text): sys.stdout.write(text); sys.stdout.flush()\n"
FOREVER = "\nwhile True: time.sleep(60)\n"
DEADLINE_S = 20.0  # of a test whose child is not meant to be late


def start(code: str, tmp_path: Path, timeout_s: float = DEADLINE_S) -> ChildPipe:
    return ChildPipe("child", [sys.executable, "-I", "-c", code], env={}, cwd=tmp_path, timeout_s=timeout_s)


def test_arrays_come_back_in_their_shapes_and_order(tmp_path: Path) -> None:
    code = """
import json, struct, sys
while line := sys.stdin.buffer.readline():
    values = sys.stdin.buffer.read(json.loads(line)["bytes"])
    sys.stdout.buffer.write(json.dumps({"shapes": [[2, 1], [], [0, 3]], "got": len(values)}).encode() + b"\\n")
    sys.stdout.buffer.write(struct.pack("<3f", 1, 2, 3))
    sys.stdout.buffer.flush()
"""
    child = start(code, tmp_path)
    for count in (0, 1 << 20):
        header, arrays = child.ask({"do": "it"}, b"x" * count)
        assert header["got"] == count
        assert [array.tolist() for array in arrays] == [[[1.0], [2.0]], 3.0, []]
        assert all(array.dtype == np.float32 for array in arrays)
    child.close()
    child.close()
    with pytest.raises(EngineError, match="child: this process is closed"):
        child.ask({"do": "it"})


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import sys; sys.exit('cannot open it')", r"child ended with exit code 1 at 'it': cannot open it"),
        (READ + "import os; os.abort()", r"child ended with exit code -6 at 'it'"),
        (READ + SAY + "say('x' * 3_000_000)" + FOREVER, r"a line of its answer is above 1048576 bytes"),
        (READ + SAY + "say('Segmentation fault\\n')" + FOREVER, r"not JSON with shapes: 'Segmentation fault'"),
        (READ + SAY + "say('[3]\\n')" + FOREVER, r"not JSON with shapes"),
        (READ + SAY + "say('{}\\n')" + FOREVER, r"not JSON with shapes"),
        (READ + SAY + "say('[' * 100_000 + '\\n')" + FOREVER, r"not JSON with shapes"),
        (READ + SAY + """say('{"shapes": [["a"]]}\\n')""" + FOREVER, r"not JSON with shapes"),
        (READ + SAY + """say('{"shapes": [[-1]]}\\n')""" + FOREVER, r"not JSON with shapes"),
        (
            READ + SAY + """say('{"shapes": [[1024, 1024, 1024]]}\\n')""" + FOREVER,
            r"an answer of 4294967296 bytes is above",
        ),
        (
            READ + SAY + """say('{"shapes": [[4294967296, 4294967296]]}\\n')""" + FOREVER,
            rf"bytes is above {MAX_ANSWER_BYTES}",
        ),
        (READ + SAY + """say('{"shapes": [[2]]}\\nabcd')""", r"child ended with exit code 0 at 'it'"),
        (READ + SAY + """say('{"shapes": [[1]]}\\nabcdefgh')""" + FOREVER, r"more bytes follow its answer to 'it'"),
    ],
)
def test_child_that_answers_wrongly_is_ended(tmp_path: Path, code: str, message: str) -> None:
    child = start(code, tmp_path)
    with pytest.raises(EngineError, match=message):
        child.ask({"do": "it"})
    assert child._child.returncode is not None
    with pytest.raises(EngineError, match="this process is closed"):
        child.ask({"do": "it"})


@pytest.mark.parametrize(
    "code",
    [
        "import time" + FOREVER,  # reads nothing: the pipe fills up
        READ + FOREVER,  # answers nothing
        READ + SAY + """say('{"shapes": [[2]]}\\nabcd')""" + FOREVER,  # answers half
        READ + "while True: sys.stderr.write('x' * 9999)",  # talks without end
    ],
)
def test_child_that_is_late_is_ended_at_the_deadline(tmp_path: Path, code: str) -> None:
    child = start(code, tmp_path, timeout_s=1.0)
    started = time.monotonic()
    with pytest.raises(EngineError, match=r"child gave no answer to 'it' within 1 s"):
        child.ask({"do": "it"}, b"x" * (1 << 20))
    assert 1.0 <= time.monotonic() - started < 15.0
    assert child._child.returncode is not None


def test_child_that_closes_its_input_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_pipe, "ENDING_S", 0.2)
    child = start("import os, time; os.close(0)" + FOREVER, tmp_path)
    with pytest.raises(EngineError, match=r"closed its pipe and did not end within 0\.2 s"):
        child.ask({"do": "it"}, b"x" * (1 << 22))
    assert child._child.returncode is not None


def test_child_that_closes_its_answers_but_lives_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_pipe, "ENDING_S", 0.2)
    child = start(READ + "import os; os.close(1)" + FOREVER, tmp_path)
    with pytest.raises(EngineError, match=r"closed its pipe and did not end within 0\.2 s at 'it'"):
        child.ask({"do": "it"})
    assert child._child.returncode is not None


def test_what_it_prints_on_standard_error_is_read_and_only_its_tail_kept(tmp_path: Path) -> None:
    flood = "sys.stderr.write('x' * 5_000_000 + 'the last words')\n"
    child = start(READ + SAY + flood + """say('{"shapes": []}\\n'); sys.stdin.buffer.readline()""", tmp_path)
    assert child.ask({"do": "it"})[1] == []
    with pytest.raises(EngineError, match=r"ended with exit code 0 at 'more': x+the last words"):
        child.ask({"do": "more"})
    assert len(child._errors) == ERRORS_TAIL_BYTES


def test_close_fails_the_question_of_another_thread(tmp_path: Path) -> None:
    child = start(READ + "import pathlib; pathlib.Path('asked').touch()" + FOREVER, tmp_path)
    faults: list[str] = []

    def ask() -> None:
        try:
            child.ask({"do": "it"})
        except EngineError as exc:
            faults.append(str(exc))

    thread = threading.Thread(target=ask)
    thread.start()
    wait_until((tmp_path / "asked").exists)
    child.close()
    thread.join(DEADLINE_S)
    assert faults == ["child ended with exit code -9 at 'it': "]
