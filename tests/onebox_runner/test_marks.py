"""Processes known by the mark in their environment: real ones, ended to the last."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from slipway.onebox.runner.marks import MARK, kill_marked

HOLDS_A_PORT = """
import socket
held = bytearray(200 << 20)  # a large process takes longer to end
for page in range(0, len(held), 4096):
    held[page] = 1
listening = socket.create_server(("127.0.0.1", 0))
print(listening.getsockname()[1], flush=True)
listening.accept()
"""


def test_what_was_killed_holds_no_port_any_more() -> None:
    env = {**os.environ, MARK: "test/uid/main"}
    process = subprocess.Popen((sys.executable, "-c", HOLDS_A_PORT), env=env, stdout=subprocess.PIPE)
    assert process.stdout is not None
    port = int(process.stdout.readline())
    process.stdout.close()
    kill_marked("test/uid/main")
    with socket.create_server(("127.0.0.1", port)):
        assert process.wait() == -signal.SIGKILL


def test_a_process_that_becomes_another_program_all_the_time_is_ended(tmp_path: Path) -> None:
    """Inside execve(2) it shows no environment."""
    script = tmp_path / "again.sh"
    script.write_text(f"exec sh {script}\n")
    for _ in range(50):
        process = subprocess.Popen(("sh", str(script)), env={**os.environ, MARK: "test/uid/main"})
        try:
            kill_marked("test/uid/main")
            assert process.wait(timeout=5) == -signal.SIGKILL
        finally:
            process.kill()
            process.wait()
