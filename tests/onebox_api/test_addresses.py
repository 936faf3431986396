"""Services get their addresses in the network of their platform, and only there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from slipway.onebox.api.__main__ import make_parts
from slipway.onebox.api.server import make_app
from slipway.onebox.paths import Paths

TOKEN = "test-token-of-the-administrator"
NETWORK = IPv4Network("127.98.32.0/29")  # four usable addresses, and two that are the Envoys'
SERVICES = "/api/v1/namespaces/default/services"


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[TestClient]:
    parts = make_parts(Paths(tmp_path), admin_token=TOKEN, network=NETWORK)
    async with TestClient(TestServer(make_app(parts)), headers={"Authorization": f"Bearer {TOKEN}"}) as client:
        yield client
    parts.objects.store.close()


async def _create(client: TestClient, name: str, **spec: str) -> tuple[int, dict[str, Any]]:
    body = {"metadata": {"name": name}, "spec": {"ports": [{"port": 8000}], **spec}}
    answer = await client.post(SERVICES, json=body)
    return answer.status, await answer.json()


async def test_services_get_the_addresses_of_the_network_until_none_is_left(client: TestClient) -> None:
    made = [await _create(client, name) for name in ("a", "b", "d", "e")]
    assert [(status, body["spec"]["clusterIP"]) for status, body in made] == [
        (201, "127.98.32.1"),
        (201, "127.98.32.2"),
        (201, "127.98.32.3"),
        (201, "127.98.32.4"),
    ]
    status, body = await _create(client, "c")
    assert (status, body["message"]) == (500, "no cluster address is left in 127.98.32.0/29")
    await client.delete(f"{SERVICES}/a")
    assert (await _create(client, "c"))[1]["spec"]["clusterIP"] == "127.98.32.1"


@pytest.mark.parametrize("address", ["127.98.48.1", "127.98.32.5", "127.98.32.6", "10.0.0.1", "web"])
async def test_address_of_another_platform_is_refused(client: TestClient, address: str) -> None:
    status, body = await _create(client, "a", clusterIP=address)
    assert status == 422
    assert address in body["message"]
    assert "127.98.32.0/29" in body["message"] or address == "web"


@pytest.mark.parametrize("network", ["10.0.0.0/20", "127.96.0.1/20", "all"])
def test_api_does_not_start_with_a_network_that_is_not_the_machines(tmp_path: Path, network: str) -> None:
    command = [sys.executable, "-m", "slipway.onebox.api", "--home", str(tmp_path), "--cluster-network", network]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert "expected a part of 127.96.0.0/12" in done.stderr
