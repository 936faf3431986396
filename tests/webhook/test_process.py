"""Two replicas as processes beside the real API of one machine, with exactly the rights of kubernetes/webhook."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import yaml

from slipway.webhook.server import PATH
from slipway.webhook.trust import CONFIGURATION, FIELDS
from tests.contract.manifests import predictor, sdep
from tests.data import REPOSITORY
from tests.manifests.kustomizations import built
from tests.onebox_api.conftest import ApiProcess, running_api
from tests.ports import free_ports
from tests.waiting import eventually
from tests.webhook.reviews import review_of

PLACED = ("ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "Secret")
HOST = "slipway-webhook.slipway-system.svc"
KIND = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": f"{CONFIGURATION.plural}.{CONFIGURATION.group}"},
    "spec": {
        "group": CONFIGURATION.group,
        "scope": "Cluster",
        "names": {"plural": CONFIGURATION.plural, "kind": CONFIGURATION.kind},
        "versions": [
            {
                "name": CONFIGURATION.version,
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            }
        ],
    },
}
"""The API of one machine calls no webhooks: here it only keeps their configuration."""
ACCOUNTS_TOKEN = "token-of-the-webhooks-service-account"
TOKEN = {
    "apiVersion": "v1",
    "kind": "Secret",
    "type": "kubernetes.io/service-account-token",
    "metadata": {
        "namespace": "slipway-system",
        "name": "token",
        "annotations": {"kubernetes.io/service-account.name": "slipway-webhook"},
    },
    "stringData": {"token": ACCOUNTS_TOKEN},
}


def place(api: ApiProcess) -> Path:
    """The manifests, and a kubeconfig of the ServiceAccount."""
    api.kubectl("apply", "-f", "-", stdin=json.dumps(KIND))
    apply(api, *PLACED)
    apply(api, CONFIGURATION.kind)
    api.kubectl("apply", "-f", "-", stdin=json.dumps(TOKEN))
    config = yaml.safe_load(api.paths.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": ACCOUNTS_TOKEN}
    path = api.paths.home / "webhook.kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path


def apply(api: ApiProcess, *kinds: str) -> None:
    items = [obj for obj in built(REPOSITORY / "kubernetes/webhook") if obj["kind"] in kinds]
    api.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))


def kept(api: ApiProcess) -> dict[str, str]:
    """What the Secret holds."""
    found = json.loads(
        api.kubectl("get", "secret", "slipway-webhook-certificate", "-n", "slipway-system", "-o", "json")
    )
    return found.get("data") or {}


@asynccontextmanager
async def replica(kubeconfig: Path, port: int) -> AsyncIterator[None]:
    words = [
        "-m",
        "slipway.webhook",
        "--kubeconfig",
        str(kubeconfig),
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--drain",
        "0",
    ]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *words, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    try:
        yield
        process.send_signal(signal.SIGTERM)
        _, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


def bundle(api: ApiProcess) -> str:
    """What an API server would trust."""
    found = json.loads(api.kubectl("get", CONFIGURATION.plural, "slipway-webhook", "-o", "json"))
    (hook,) = found["webhooks"]
    return base64.b64decode(hook["clientConfig"].get("caBundle", "")).decode()


async def allowed(port: int, trusted: str, manifest: dict) -> bool | None:
    """As an API server asks: by the Service's name, trusting the bundle alone. None where nobody listens yet."""
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cadata=trusted))
    url = f"https://127.0.0.1:{port}{PATH}?timeout=5s"
    async with aiohttp.ClientSession(connector=connector) as session:
        try:
            async with session.post(url, json=review_of(manifest), server_hostname=HOST) as answered:
                return bool((await answered.json())["response"]["allowed"])
        except aiohttp.ClientConnectorError as exc:
            assert not isinstance(exc, aiohttp.ClientConnectorCertificateError), exc
            return None


async def test_replicas_share_a_certificate_that_the_api_server_trusts(tmp_path):
    with running_api(tmp_path / "home") as api:
        kubeconfig, ports = await asyncio.to_thread(place, api), free_ports(2)
        async with replica(kubeconfig, ports[0]), replica(kubeconfig, ports[1]):
            trusted = await eventually(lambda: asyncio.to_thread(bundle, api), timeout_s=30)
            for port in ports:
                await eventually(lambda port=port: allowed(port, trusted, sdep()), timeout_s=30)
                assert await allowed(port, trusted, sdep(predictor(traffic=20))) is False
            assert await asyncio.to_thread(bundle, api) == trusted, "the second one took what the first one made"
        before = kept(api)
        assert before.keys() == set(FIELDS.values())
        apply(api, *PLACED)
        assert kept(api) == before, "an apply of the empty Secret takes nothing away"
