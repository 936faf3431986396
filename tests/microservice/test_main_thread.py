"""What a class may do in the main thread of Seldon's wrapper it may do here: its one thread is the main thread."""

from __future__ import annotations

import json
import signal
import urllib.request
from pathlib import Path

import pytest

from tests.waiting import wait_until

OF_ITS_THREAD = """
import asyncio, signal, sqlite3, threading
class Mod:
    def __init__(self):
        self.made = sqlite3.connect(":memory:")
        self.alarms = []
    def load(self):
        self.loaded = sqlite3.connect(":memory:")
        signal.signal(signal.SIGALRM, lambda number, frame: self.alarms.append("load"))
        signal.raise_signal(signal.SIGALRM)
    def predict(self, X, names):
        found = [one.execute("select 6 * 7").fetchone()[0] for one in (self.made, self.loaded)]
        return {"found": found, "alarms": self.alarms, "thread": threading.current_thread().name, **self.own()}
    def own(self):
        async def later():
            await asyncio.sleep(0)
            return "from the loop"
        loop = asyncio.get_event_loop()
        rang = threading.Event()
        signal.signal(signal.SIGALRM, lambda number, frame: (self.alarms.append("predict"), rang.set()))
        signal.setitimer(signal.ITIMER_REAL, 0.001)
        rang.wait(20)
        return {"loop": loop.run_until_complete(later())}
    def health_status(self):
        return str(self.made.execute("select 1").fetchone())
    def tags(self):
        self.loaded.execute("select 1")
        return {}
"""
INLINE = (
    OF_ITS_THREAD
    + """
    def own(self):
        return {}
"""
)


def _post(address: str, body: object) -> dict[str, object]:
    data, headers = json.dumps(body).encode(), {"Content-Type": "application/json"}
    with urllib.request.urlopen(
        urllib.request.Request(f"http://{address}/predict", data, headers), timeout=20
    ) as answer:
        found: dict[str, object] = json.load(answer)["jsonData"]
    return found


def test_class_is_made_loaded_and_called_in_the_main_thread(start_process) -> None:
    rest = start_process(OF_ITS_THREAD).ready()[0]
    expected = {"found": [42, 42], "thread": "MainThread", "loop": "from the loop"}
    assert _post(rest, {"strData": "x"}) == {**expected, "alarms": ["load", "predict"]}
    assert _post(rest, {"strData": "x"}) == {**expected, "alarms": ["load", "predict", "predict"]}
    with urllib.request.urlopen(f"http://{rest}/health/status", timeout=20) as response:
        assert json.load(response)["strData"] == "(1,)"


def test_inline_class_is_made_loaded_and_called_in_the_main_thread(start_process) -> None:
    rest = start_process(INLINE, "--inline").ready()[0]
    assert _post(rest, {"strData": "x"}) == {"found": [42, 42], "thread": "MainThread", "alarms": ["load"]}


LOADS = """
import pathlib, signal, threading
class Mod:
    def load(self):
        pathlib.Path("loading").touch()
        threading.Event().wait()
"""


@pytest.mark.parametrize("flags", [[], ["--inline"]], ids=["thread", "inline"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_a_load(start_process, tmp_path: Path, number: signal.Signals, flags: list[str]) -> None:
    process = start_process(LOADS, *flags)
    wait_until((tmp_path / "loading").exists, what="the load")
    process.send(number)
    assert process.wait() == 0


LEAVES = "raise SystemExit(3)\n"
LEAVES_WHEN_MADE = "class Mod:\n    def __init__(self):\n        raise SystemExit(3)\n"


@pytest.mark.parametrize(("source", "said"), [(LEAVES, "import of Mod failed"), (LEAVES_WHEN_MADE, "Mod(...) failed")])
def test_class_that_ends_the_interpreter_is_a_line_in_the_log(start_process, source: str, said: str) -> None:
    process = start_process(source)
    assert process.wait() == 1
    assert f"{said}: SystemExit: 3" in process.text()
