"""The store's copy for backups: whole, of one moment, and for the administrator only."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer

from slipway.onebox.api.__main__ import make_parts
from slipway.onebox.api.server import make_app
from slipway.onebox.api.store import Store
from slipway.onebox.api.store_copy import STORE_COPY_PATH
from slipway.onebox.paths import Paths
from tests.waiting import eventually

ADMIN, ROBOT = "token-of-the-administrator", "token-of-the-robot"
CORE = "/api/v1/namespaces/default"
Client = TestClient[aiohttp.web.Request, aiohttp.web.Application]


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    parts = make_parts(Paths(tmp_path), admin_token=ADMIN, admission={})
    client = TestClient(TestServer(make_app(parts)))
    await client.start_server()
    secret = {
        "metadata": {"name": "robot-token", "annotations": {"kubernetes.io/service-account.name": "robot"}},
        "type": "kubernetes.io/service-account-token",
        "data": {"token": base64.b64encode(ROBOT.encode()).decode()},
    }
    for kind, body in (("serviceaccounts", {"metadata": {"name": "robot"}}), ("secrets", secret)):
        answer = await client.post(f"{CORE}/{kind}", json=body, headers=bearer(ADMIN))
        assert answer.status == 201, await answer.text()
    yield client
    await client.close()
    parts.objects.store.close()


async def test_copy_opens_as_a_store_with_the_same_objects_and_version(client: Client, tmp_path: Path) -> None:
    made = await client.post(
        f"{CORE}/configmaps", json={"metadata": {"name": "one"}, "data": {"k": "v"}}, headers=bearer(ADMIN)
    )
    obj = await made.json()
    answer = await client.get(STORE_COPY_PATH, headers=bearer(ADMIN))
    assert answer.status == 200
    file = tmp_path / "copied" / "objects.sqlite"
    file.parent.mkdir()
    file.write_bytes(await answer.read())
    copied = Store(file)
    found = copied.get("configmaps", ("default", "one"))
    assert found is not None
    assert found["metadata"]["uid"] == obj["metadata"]["uid"]
    assert str(copied.version) == obj["metadata"]["resourceVersion"]
    copied.close()


async def test_copy_leaves_nothing_beside_the_store(client: Client, tmp_path: Path) -> None:
    await (await client.get(STORE_COPY_PATH, headers=bearer(ADMIN))).read()

    def is_clean() -> bool:  # the copy goes when its last byte was sent, which the client may see first
        return all(path.name.startswith("objects.sqlite") for path in (tmp_path / "api").iterdir())

    await eventually(is_clean, what="the copy is gone")


@pytest.mark.parametrize(
    ("headers", "status"), [({}, 403), (bearer("another-token-of-nobody"), 401), (bearer(ROBOT), 403)]
)
async def test_copy_is_refused_to_others(client: Client, headers: dict[str, str], status: int) -> None:
    assert (await client.get(STORE_COPY_PATH, headers=headers)).status == status
