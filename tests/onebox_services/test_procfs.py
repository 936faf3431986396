from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest

from slipway.onebox.supervisor import procfs
from slipway.onebox.supervisor.process_stat import read_stat
from tests.waiting import wait_until


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-S", "-c", "import signal; signal.pause()", "(odd) name"])
    yield process
    process.kill()
    process.wait()


def test_identity_of_a_living_process_is_alive(child: subprocess.Popen[bytes]) -> None:
    identity = procfs.identify(child.pid)
    assert identity is not None
    assert identity.is_alive
    assert 0 <= identity.age_s < 60


def test_identity_does_not_fit_a_reused_pid_or_another_boot(child: subprocess.Popen[bytes]) -> None:
    identity = procfs.identify(child.pid)
    assert identity is not None
    assert not replace(identity, start_ticks=identity.start_ticks - 1).is_alive
    assert not replace(identity, boot="another").is_alive


def test_zombie_is_not_alive(child: subprocess.Popen[bytes]) -> None:
    identity = procfs.identify(child.pid)
    assert identity is not None
    os.kill(child.pid, signal.SIGKILL)  # not reaped yet: the pid is still there
    wait_until(lambda: not identity.is_alive, what="the zombie to count as dead")
    assert procfs.identify(child.pid) is None


def test_listener_is_named_with_pid_and_command() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert procfs.listeners("127.0.0.1", port) == [os.getpid()]
        assert procfs.describe_owner(os.getpid()).startswith(f"pid {os.getpid()} (")
    assert procfs.listeners("127.0.0.1", port) == []


def test_listener_on_every_address_holds_the_port_too() -> None:
    with socket.create_server(("0.0.0.0", 0)) as server:
        assert procfs.listeners("127.0.0.1", server.getsockname()[1]) == [os.getpid()]


def test_listener_on_another_loopback_address_does_not_count() -> None:
    with socket.create_server(("127.7.7.7", 0)) as server:
        assert procfs.listeners("127.0.0.1", server.getsockname()[1]) == []


def test_pss_is_measured(child: subprocess.Popen[bytes]) -> None:
    wait_until(lambda: procfs.pss_bytes(child.pid) > 1 << 20, what="an interpreter's memory")
    assert child.pid in procfs.descendants(os.getpid())


def test_facts_about_a_gone_process_are_empty() -> None:
    process = subprocess.Popen([sys.executable, "-S", "-c", ""])
    process.wait()
    assert procfs.command_line(process.pid) == ""
    assert procfs.pss_bytes(process.pid) == 0
    assert read_stat(process.pid) is None
    assert procfs.cpu_seconds(process.pid) == 0
    assert procfs.session_of(process.pid) is None
