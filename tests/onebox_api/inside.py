"""An API inside the test's own process, and requests to it."""

from __future__ import annotations

import json
from typing import Any

import aiohttp

ADMIN_TOKEN = "inside-token-of-the-administrator"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


async def send(http: aiohttp.ClientSession, method: str, path: str, body: Any = None, **more: Any) -> tuple[int, Any]:
    """Status and JSON body of the answer."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body)
    async with http.request(method, path, data=data, **more) as response:
        return response.status, json.loads(await response.read())


def config_map(name: str, **more: Any) -> dict[str, Any]:
    meta = {"name": name, "uid": name}  # which a creation replaces, and a write into the store needs
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, **more}
