"""Readiness of an executor: how soon it is told, and of a node in another Pod, behind a mesh that takes connections for nobody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from slipway.executor import readiness
from slipway.executor.addresses import Addresses
from slipway.executor.limits import FIRST_READY_POLL_S
from slipway.executor.metrics import ExecutorMetrics, Identity
from slipway.executor.readiness import Readiness
from slipway.executor.rest_client import RestNodes
from tests.executor.executors import Executor, executor
from tests.executor.graphs import graph_of
from tests.executor.nodes import Node, Reply, serving
from tests.waiting import eventually

NOBODY = Reply(b"{}", 503, {"x-slipway-reason": "NO_READY_PREDICTOR", "Content-Type": "application/json"})
UNREACHED = Reply(b"upstream connect error", 503, {"Content-Type": "text/plain"})


class Never:
    """An answer that does not come."""

    def __await__(self) -> Generator[Any, None, Reply]:
        yield from asyncio.Event().wait().__await__()
        raise AssertionError("never")


@asynccontextmanager
async def behind_a_service(node: Node, folder: Path, **endpoint: Any) -> AsyncIterator[Executor]:
    """The executor knows the node by a Service's name."""
    hosts = folder / "hosts"
    hosts.write_text("127.0.0.1 dep-main-a\n")
    graph = node.graph("MODEL")
    graph["endpoint"] |= {"service_host": "dep-main-a", **endpoint}
    async with executor(graph, environment={"SLIPWAY_HOSTS": str(hosts)}, ready=False) as client:
        yield client


async def test_nodes_are_asked_again_once_the_last_answer_is_a_poll_old() -> None:
    node, now = Node("a"), 0.0
    async with serving(node):
        pass
    addresses = Addresses(pod_ip="127.0.0.1")
    nodes = RestNodes(addresses=addresses, metrics=ExecutorMetrics(Identity("", "", "")))
    asked, root = Readiness(nodes, addresses=addresses, clock=lambda: now), graph_of(node.graph("MODEL")).root
    refused = await asked.problems(root)
    assert len(refused) == 1
    async with serving(node):
        assert await asked.problems(root) == refused
        now = FIRST_READY_POLL_S
        assert await asked.problems(root) == []
        assert await asked.problems(root) == []
    nodes.close()
    assert [seen.path for seen in node.seen] == ["/metadata"]


@pytest.mark.parametrize("nobody", [NOBODY, UNREACHED], ids=["one machine", "istio"])
async def test_executor_is_ready_while_somebody_stands_behind_its_node_s_service(tmp_path: Path, nobody: Reply) -> None:
    node = Node("a", metadata=nobody)
    async with serving(node), behind_a_service(node, tmp_path) as client:
        await eventually(lambda: len(node.seen) > 2, what="the executor asks again")
        assert not await client.is_ready()
        node.metadata = Reply(b'{"name":"image"}')
        await eventually(client.is_ready)
        node.metadata = nobody

        async def is_unready() -> bool:
            return not await client.is_ready()

        await eventually(is_unready)


async def test_busy_node_and_one_without_metadata_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "PROBE_TIMEOUT_S", 0.2)
    node = Node("a", metadata=Reply(b"{}", 500))
    async with serving(node), behind_a_service(node, tmp_path) as client:
        await eventually(client.is_ready)
        node.metadata, before = Never(), len(node.seen)

        async def asked_and_ready() -> bool:
            return await client.is_ready() and len(node.seen) > before + 1

        await eventually(asked_and_ready)


async def test_service_of_a_node_that_serves_grpc_only_needs_an_endpoint_too(tmp_path: Path) -> None:
    """What it says to REST tells nothing, but for the mesh's own word."""
    node = Node("a", metadata=NOBODY)
    async with serving(node), behind_a_service(node, tmp_path, service_port=node.grpc_port) as client:
        await eventually(lambda: len(node.seen) > 2, what="the executor asks again")
        assert not await client.is_ready()
        node.metadata = UNREACHED
        await eventually(client.is_ready)
