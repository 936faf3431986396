"""A real API process on a free port, with a kubeconfig for kubectl; and an API inside the test's own process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
import yaml
from aiohttp.test_utils import TestServer

from slipway.onebox.api.__main__ import make_parts
from slipway.onebox.api.server import Parts, make_app
from slipway.onebox.paths import Paths
from tests.onebox_api.inside import ADMIN_TOKEN

TOKEN = "test-token-of-the-administrator"


@dataclass
class ApiProcess:
    """One home; the process may be killed and started again on it."""

    paths: Paths
    process: subprocess.Popen[str] | None = None
    address: str = ""

    def start(self) -> None:
        command = [sys.executable, "-m", "slipway.onebox.api", "--home", str(self.paths.home), "--listen"]
        self.process = subprocess.Popen(
            [*command, "127.0.0.1:0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found = re.search(r"127\.0\.0\.1:\d+", line)
        assert found, line + (self.process.stderr.read() if self.process.stderr else "")
        self.address = found[0]
        self._write_kubeconfig()

    def _write_kubeconfig(self) -> None:
        cluster = {"server": f"https://{self.address}", "certificate-authority": "secrets/api.crt"}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "slipway", "cluster": cluster}],
            "users": [{"name": "admin", "user": {"token": TOKEN}}],
            "contexts": [{"name": "slipway", "context": {"cluster": "slipway", "user": "admin"}}],
            "current-context": "slipway",
        }
        self.paths.kubeconfig.write_text(yaml.safe_dump(config))

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None

    def kubectl(self, *arguments: str, stdin: str = "", check: bool = True, **environment: str) -> str:
        result = subprocess.run(
            ["kubectl", "--kubeconfig", str(self.paths.kubeconfig), *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            env={**os.environ, "HOME": str(self.paths.home), **environment},
        )
        assert not check or result.returncode == 0, result.stderr
        return result.stdout + result.stderr


@contextmanager
def running_api(home: Path) -> Iterator[ApiProcess]:
    """An API of its own in a new ``home``, ended afterwards also where the test failed."""
    paths = Paths(home)
    paths.secrets.mkdir(parents=True)
    (paths.secrets / "api-token").write_text(TOKEN)
    process = ApiProcess(paths)
    process.start()
    try:
        yield process
    finally:
        process.kill()


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ApiProcess]:
    with running_api(tmp_path / "home") as process:
        yield process


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncIterator[Parts]:
    """What an API on an empty home is made of."""
    made = make_parts(Paths(tmp_path), admin_token=ADMIN_TOKEN, admission={})
    yield made
    made.objects.store.close()


@pytest.fixture
async def server(parts: Parts) -> AsyncIterator[TestServer]:
    made = TestServer(make_app(parts))
    await made.start_server()
    yield made
    await made.close()


@pytest.fixture
async def http(server: TestServer) -> AsyncIterator[aiohttp.ClientSession]:
    """The administrator's session."""
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}", "Content-Type": "application/json"}
    async with aiohttp.ClientSession(server.make_url("/"), headers=headers) as session:
        yield session
