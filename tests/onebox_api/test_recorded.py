"""The recorded answers of a real kube-apiserver are the conformance fixture: pairs are replayed theme by theme.

`NOT_YET` lists every pair that does not pass, each with its reason; a pair that starts to pass must leave the list.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp.test_utils import TestServer

from slipway.onebox.api.__main__ import make_parts
from slipway.onebox.api.crds import builtin_crds
from slipway.onebox.api.history import History
from slipway.onebox.api.server import make_app
from slipway.onebox.api.store import Store
from slipway.onebox.paths import Paths
from tests.data import KUBE_API
from tests.onebox_api.recorded import TOKEN, Action, Bindings, Mismatch, Replay, load_pairs
from tests.onebox_api.recorded_setup import (
    BEFORE,
    COMPACTED_AT,
    DURING,
    KNOWN,
    LOG_AT,
    NAMESPACES,
    NOT_YET,
    REMEMBERED_AT,
)

pytestmark = pytest.mark.skipif(not KUBE_API.is_dir(), reason=f"{KUBE_API} (the recording) is not here")


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[tuple[TestServer, Store]]:
    """Our API with the recording's two definitions in place of our own."""
    parts = make_parts(Paths(tmp_path), admin_token=TOKEN, admission={})
    server = TestServer(make_app(parts))
    await server.start_server()
    yield server, parts.objects.store
    await server.close()
    parts.objects.store.close()


async def prepare(replay: Replay, namespace: str | None, *, with_definitions: bool) -> None:
    root = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    for crd in builtin_crds():
        await replay.act(Action("DELETE", f"{root}/{crd['metadata']['name']}"))
    for crd in json.loads((KUBE_API / "crds.json").read_text())["items"] if with_definitions else ():
        await replay.act(Action("POST", root, crd))
    if namespace:
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
        await replay.act(Action("POST", "/api/v1/namespaces", body))


def write_log(home: Path, store: Store) -> None:
    """Five lines of the container `web`, as the runner writes them."""
    for (namespace, name), pod in store.all("pods").items():
        path = Paths(home).container_log(namespace, name, pod["metadata"]["uid"], container="web", restart=0)
        path.parent.mkdir(parents=True)
        path.write_text("".join(f"2026-01-01T00:00:0{n}.000000Z stdout F line {n}\n" for n in range(1, 6)))


@pytest.mark.parametrize("theme", sorted(NAMESPACES))
async def test_recorded_pairs_are_answered_as_recorded(
    theme: str, served: tuple[TestServer, Store], tmp_path: Path
) -> None:
    server, store = served
    bindings = Bindings()
    for mask, value in KNOWN.get(theme, {}).items():
        bindings.pin(mask, value)
    failed: dict[str, str] = {}
    async with aiohttp.ClientSession() as session:
        replay = Replay(session, str(server.make_url("/")).rstrip("/"), bindings)
        await prepare(replay, NAMESPACES[theme], with_definitions=theme != "01-crd")  # which makes them
        store.history = History(store.version)  # as after a restart
        for pair in load_pairs(theme):
            number = f"{theme[:2]}-{pair['n']}"
            if number in COMPACTED_AT:
                bindings.pin(COMPACTED_AT[number], str(store.oldest - 1))
            if number in REMEMBERED_AT:
                bindings.guess(REMEMBERED_AT[number], str(store.version))
            if number == LOG_AT:
                write_log(tmp_path, store)
            for action in BEFORE.get(number, ()):
                await replay.act(action)
            try:
                await replay.pair(pair, DURING.get(number, ()))
            except (Mismatch, KeyError, ValueError) as exc:
                failed[number] = f"{pair['name']}: {exc}"
    bindings.check_order()
    expected = {number for number in NOT_YET if number.startswith(f"{theme[:2]}-")}
    report = "\n".join(f"{number} {failed[number]}" for number in sorted(failed.keys() - expected))
    assert not failed.keys() - expected, report
    assert not expected - failed.keys(), f"pass now, take them from NOT_YET: {sorted(expected - failed.keys())}"
