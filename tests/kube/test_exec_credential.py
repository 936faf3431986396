"""Credential plug-ins are real programs here: what they are told, what they give, and how they may fail."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer

from slipway.kube import exec_credential
from slipway.kube.client import Kube
from slipway.kube.errors import ConfigError, Unauthorized
from slipway.kube.exec_credential import ExecCredential, ExecSpec, parse_credential
from slipway.kube.kinds import CONFIG_MAP
from slipway.kube.kubeconfig import Access, TokenFile, load_access

V1 = "client.authentication.k8s.io/v1"
V1BETA1 = "client.authentication.k8s.io/v1beta1"
PLUGIN = """
import json, os, pathlib, sys
runs = pathlib.Path(sys.argv[1]); runs.write_text(runs.read_text() + "x" if runs.exists() else "x")
info = json.loads(os.environ["KUBERNETES_EXEC_INFO"])
(runs.parent / "told.json").write_text(json.dumps([info, os.environ.get("PROFILE")]))
status = {"token": f"token-{len(runs.read_text())}", **json.loads(sys.argv[2])}
print(json.dumps({"apiVersion": info["apiVersion"], "kind": "ExecCredential", "status": status}))
"""


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    path = tmp_path / "plugin.py"
    path.write_text(PLUGIN)
    return path


def spec(plugin: Path, status: dict[str, Any] | None = None, version: str = V1) -> ExecSpec:
    argv = (sys.executable, str(plugin), str(plugin.parent / "runs"), json.dumps(status or {}))
    return ExecSpec("config: users[u].exec", version, argv)


async def test_token_is_asked_for_once_until_it_ends(plugin: Path) -> None:
    now = [1_000_000.0]
    ends = {"expirationTimestamp": "1970-01-12T14:46:40Z"}  # 1 003 600 s
    credential = ExecCredential(spec(plugin, ends), clock=lambda: now[0], ticks=lambda: now[0])
    assert (await credential.current()).token == "token-1"
    now[0] += 3500
    assert (await credential.current()).token == "token-1"
    now[0] += 75  # 25 s before it ends
    assert (await credential.current()).token == "token-2"
    assert "token-2" not in repr(await credential.current())


async def test_refused_token_is_asked_for_anew_but_not_for_each_request(plugin: Path) -> None:
    now = [1_000_000.0]
    credential = ExecCredential(spec(plugin), ticks=lambda: now[0])
    assert (await credential.current()).token == "token-1"
    credential.renew()
    assert (await credential.current()).token == "token-1", "it has just been made"
    now[0] += exec_credential.PAUSE_S
    credential.renew()
    assert (await credential.current()).token == "token-2"


async def test_refused_token_is_asked_for_anew_although_the_clock_was_set_back(plugin: Path) -> None:
    wall, ticks = [1_000_000.0], [100.0]
    ends = {"expirationTimestamp": "1970-01-12T14:46:40Z"}
    credential = ExecCredential(spec(plugin, ends), clock=lambda: wall[0], ticks=lambda: ticks[0])
    assert (await credential.current()).token == "token-1"
    wall[0] -= 3600
    ticks[0] += exec_credential.PAUSE_S
    credential.renew()
    assert (await credential.current()).token == "token-2"


async def test_kubeconfig_of_a_cloud_says_what_the_plugin_is_told(tmp_path: Path, plugin: Path) -> None:
    cluster = {"server": "https://10.0.0.1", "certificate-authority-data": "Q0E="}
    user = {
        "apiVersion": V1BETA1,
        "command": sys.executable,
        "args": [str(plugin), str(tmp_path / "runs"), "{}"],
        "env": [{"name": "PROFILE", "value": "team"}],
        "installHint": "install the plug-in",
        "provideClusterInfo": True,
        "interactiveMode": "IfAvailable",
    }
    config = {
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": {"exec": user}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    (tmp_path / "config").write_text(yaml.safe_dump(config))
    access = load_access(tmp_path / "config")
    assert access.headers(await access.issued()) == [("Authorization", "Bearer token-1")]
    info, profile = json.loads((tmp_path / "told.json").read_text())
    assert profile == "team"
    assert info["spec"] == {"interactive": False, "cluster": cluster}
    user["interactiveMode"] = "Always"
    (tmp_path / "config").write_text(yaml.safe_dump(config))
    with pytest.raises(ConfigError, match="nobody is here to ask"):
        load_access(tmp_path / "config")


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("import sys; sys.exit('login first')", "ended with 1: login first"),
        ("print('hello')", "wrote no ExecCredential"),
        ('print(\'{"apiVersion": "v9", "kind": "ExecCredential", "status": {}}\')', "wrote v9 ExecCredential"),
        ("print('x' * (2 << 20))", "wrote more than"),
        ("import time; time.sleep(600)", "has not ended within"),
    ],
)
async def test_plugin_that_gives_nothing_is_an_error_that_says_what_happened(
    program: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "sleep" in program:
        monkeypatch.setattr(exec_credential, "RUN_S", 0.3)
    credential = ExecCredential(ExecSpec("config: users[u].exec", V1, (sys.executable, "-c", program)))
    with pytest.raises(ConfigError, match=words) as caught:
        await credential.current()
    assert "config: users[u].exec" in str(caught.value)


async def test_plugin_that_is_not_there_comes_with_its_hint() -> None:
    missing = ExecSpec("config: users[u].exec", V1, ("no-such-plugin",), hint="see the cloud's pages")
    with pytest.raises(ConfigError, match="no-such-plugin: No such file or directory: see the cloud's pages"):
        await ExecCredential(missing).current()


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ({}, "neither a token nor a certificate"),
        ({"clientCertificateData": "PEM"}, "neither a token nor a certificate"),
        ({"token": 7}, "must be texts"),
        ({"token": "t", "expirationTimestamp": "tomorrow"}, "wrote no ExecCredential"),
    ],
)
def test_answer_that_is_none_is_refused(status: dict[str, Any], words: str) -> None:
    text = json.dumps({"apiVersion": V1, "kind": "ExecCredential", "status": status}).encode()
    with pytest.raises(ConfigError, match=words):
        parse_credential(text, ExecSpec("w", V1, ("p",)))


class Guarded:
    """An API that takes one token."""

    def __init__(self) -> None:
        self.wanted = "token-1"
        self.seen: list[list[tuple[str, str]]] = []

    async def handle(self, request: web.Request) -> web.Response:
        self.seen.append([(key, value) for key, value in request.headers.items() if key.startswith(("Auth", "Imp"))])
        if request.headers.get("Authorization") != f"Bearer {self.wanted}":
            return web.json_response({"kind": "Status", "code": 401, "reason": "Unauthorized"}, status=401)
        return web.json_response({"metadata": {"name": "a"}})


@pytest.fixture
async def guarded() -> Guarded:
    return Guarded()


@pytest.fixture
async def url(guarded: Guarded) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", guarded.handle)
    async with TestServer(app) as server:
        yield str(server.make_url("/")).rstrip("/")


async def test_client_uses_the_plugin_and_renews_after_a_401(guarded: Guarded, url: str, plugin: Path) -> None:
    now = [1_000_000.0]
    credential = ExecCredential(spec(plugin), ticks=lambda: now[0])
    async with Kube(Access(url, plugin=credential)) as kube:
        await kube.get(CONFIG_MAP, "a", namespace="default")
        guarded.wanted, now[0] = "token-2", now[0] + 3600
        with pytest.raises(Unauthorized):
            await kube.get(CONFIG_MAP, "a", namespace="default")
        await kube.get(CONFIG_MAP, "a", namespace="default")


async def test_rotated_token_of_a_pod_is_read_again_after_a_401(guarded: Guarded, url: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("token-1\n")
    async with Kube(Access(url, token_file=TokenFile(tmp_path / "token"))) as kube:
        await kube.get(CONFIG_MAP, "a", namespace="default")
        (tmp_path / "token").write_text("token-2\n")
        guarded.wanted = "token-2"
        with pytest.raises(Unauthorized):
            await kube.get(CONFIG_MAP, "a", namespace="default")
        await kube.get(CONFIG_MAP, "a", namespace="default")
        (tmp_path / "token").unlink()
        kube.access.renew()
        await kube.get(CONFIG_MAP, "a", namespace="default")


async def test_kubeconfig_that_acts_as_somebody_else_says_so_to_the_api(guarded: Guarded, url: str) -> None:
    access = Access(url, token="token-1", acts_as=(("Impersonate-User", "ada"), ("Impersonate-Group", "a")))
    access = replace(access, acts_as=(*access.acts_as, ("Impersonate-Group", "b")))
    async with Kube(access) as kube:
        await kube.get(CONFIG_MAP, "a", namespace="default")
    assert guarded.seen == [[("Authorization", "Bearer token-1"), *access.acts_as]]
