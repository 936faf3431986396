from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from slipway.onebox.supervisor import process as launcher
from slipway.onebox.supervisor.errors import LauncherError, PortTakenError
from slipway.onebox.supervisor.procfs import Identity, identify
from slipway.onebox.supervisor.spec import Port, ProcessSpec
from tests.onebox_services.specs import FOREVER, python
from tests.waiting import wait_until


def test_start_refuses_a_taken_port_and_names_process_and_flag(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = Port("127.0.0.1", server.getsockname()[1], "--s3-port")
        with pytest.raises(PortTakenError, match=rf"pid {os.getpid()} \(.*--s3-port") as caught:
            launcher.start(python("s3", FOREVER, ports=(port,)), log=tmp_path / "s3.log", ours=())
    assert caught.value.flag == "--s3-port"


def test_start_shares_a_port_with_our_own_process() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        spec = python("envoy-1", FOREVER, ports=(Port("127.0.0.1", server.getsockname()[1]),))
        launcher.refuse_taken_ports(spec, ours={os.getpid()})


def test_start_names_a_program_that_is_not_there(tmp_path: Path) -> None:
    spec = ProcessSpec(name="envoy", argv=(str(tmp_path / "envoy"),))
    with pytest.raises(LauncherError, match="envoy: cannot start .*No such file"):
        launcher.start(spec, log=tmp_path / "envoy.log", ours=())


NICED = """
import os, subprocess, sys
from slipway.onebox.supervisor.process import give_way
os.nice(10)
with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
    give_way(child.pid, 5)
    print(os.getpriority(os.PRIO_PROCESS, child.pid))
    child.kill()
give_way(child.pid, 5)
"""


def test_niceness_is_added_to_that_of_the_shell() -> None:
    """An ordinary user may only raise it: an absolute 5 below a shell's 10 is refused."""
    done = subprocess.run([sys.executable, "-c", NICED], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == (f"{min(os.getpriority(os.PRIO_PROCESS, 0) + 15, 19)}\n", "")


def test_kill_reaches_children_that_made_sessions_of_their_own(tmp_path: Path) -> None:
    code = f"""
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-S", "-c", {FOREVER!r}], start_new_session=True)
print(child.pid, flush=True)
child.wait()
"""
    log = tmp_path / "server.log"
    process = launcher.start(python("server", code), log=log, ours=())
    grandchild = int(wait_until(lambda: log.read_text().strip(), what="the grandchild's pid"))
    identity = identify(grandchild)
    assert identity is not None
    process.send(signal.SIGKILL)
    assert process.reap() == -signal.SIGKILL
    wait_until(lambda: not identity.is_alive, what="the grandchild to end")


def test_signal_spares_a_process_that_reused_the_pid() -> None:
    bystander = subprocess.Popen([sys.executable, "-S", "-c", FOREVER], start_new_session=True)
    identity = identify(bystander.pid)
    assert identity is not None
    try:
        launcher.signal_group(Identity(bystander.pid, identity.start_ticks - 1, identity.boot), signal.SIGKILL)
        assert bystander.poll() is None
        assert identity.is_alive
    finally:
        bystander.kill()
        assert bystander.wait() == -signal.SIGKILL


def test_log_is_cut_when_it_is_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher, "LOG_BYTES", 10)
    log = tmp_path / "api.log"
    log.write_text("0123456789")
    launcher.cut_log(log)
    assert log.read_text() == "0123456789"
    log.write_text("dropped0123456789")
    launcher.cut_log(log)
    assert log.read_text() == ""
    assert (tmp_path / "api.log.1").read_text() == "0123456789"


def test_log_is_cut_on_a_full_disk_too_and_its_past_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_path: Path, _content: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(launcher, "LOG_BYTES", 10)
    monkeypatch.setattr(Path, "write_bytes", full)
    log = tmp_path / "api.log"
    log.write_text("dropped0123456789")
    launcher.cut_log(log)
    assert (log.read_text(), log.with_name("api.log.1").exists()) == ("", False)


def test_last_lines_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "api.log"
    assert launcher.last_lines(log) == []
    log.write_text("".join(f"line {number}\n" for number in range(100)))
    assert launcher.last_lines(log)[-1] == "line 99"
    assert len(launcher.last_lines(log)) == launcher.LOG_TAIL_LINES
