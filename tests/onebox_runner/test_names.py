"""Names of Services on a full disk: the runner goes on, and containers read no half of a file."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from slipway.kube.kinds import SERVICE, Kind
from slipway.kube.reflector import Change, Reflector
from slipway.onebox.paths import Paths
from slipway.onebox.runner import __main__ as runner
from slipway.onebox.runner.hosts import write_hosts
from slipway.onebox.runner.kubelet import Kubelet
from slipway.onebox.runner.machine import Machine
from tests.waiting import eventually

WEB = {"metadata": {"name": "web", "namespace": "default"}, "spec": {"clusterIP": "127.96.0.1"}}


class News:
    """A reflector with one Service, of which one change is told."""

    def __init__(self) -> None:
        self._told = [frozenset({Change(SERVICE, "default", "web")})]

    def objects(self, kind: Kind) -> Mapping[tuple[str, str], Any]:
        return {("default", "web"): WEB} if kind == SERVICE else {}

    async def changed(self) -> frozenset[Change]:
        if not self._told:
            await asyncio.Event().wait()
        return self._told.pop()


def noted(calls: list[str], name: str) -> Any:
    return SimpleNamespace(wake=lambda: calls.append(name))


async def test_runner_survives_a_full_disk_and_writes_names_once_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    refused: list[Path] = []

    def full_once(path: Path, text: str) -> bool:
        if not refused:
            refused.append(path)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return write_hosts(path, text)

    monkeypatch.setattr(runner, "write_hosts", full_once)
    monkeypatch.setattr(runner, "NAMES_AGAIN_S", 0.05)
    paths, calls = Paths(tmp_path), list[str]()
    controllers = cast(Any, [noted(calls, name) for name in ("endpoints", "workloads", "scaling", "claims")])
    machine = cast(Machine, SimpleNamespace(paths=paths))
    following = asyncio.create_task(
        runner._follow(cast(Reflector, News()), machine, cast(Kubelet, SimpleNamespace()), controllers)
    )
    await eventually(lambda: paths.hosts.exists() and "127.96.0.1 web.default" in paths.hosts.read_text())
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    assert following.cancelled()
    assert "endpoints" in calls  # whoever may be sent requests does not wait for the disk
    assert "No space left on device" in caplog.text


def test_names_that_do_not_fit_leave_those_that_there_are(tmp_path: Path) -> None:
    """A write that finds no room for all of it writes a part, and is no error."""
    path = tmp_path / "hosts"
    write_hosts(path, "before\n")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16, hard))
    try:
        with pytest.raises(OSError, match="No space left on device"):
            write_hosts(path, "a longer text that does not fit\n")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_text().split() == ["before"]
    assert write_hosts(path, "a longer text that fits now\n")
    assert path.read_text() == "a longer text that fits now\n"
