"""Whether every node of a graph can be called, and on which wire."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from slipway.contract.errors import NO_READY_PREDICTOR
from slipway.contract.ip_addresses import is_ip_address
from slipway.executor.addresses import Addresses
from slipway.executor.dialect import SELDON, Dialect
from slipway.executor.errors import NodeAnswered, NodeTimeout, NodeUnreachable, RequestError
from slipway.executor.graph import Endpoint, Node
from slipway.executor.limits import FIRST_READY_POLL_S, PROBE_TIMEOUT_S
from slipway.executor.rest_client import NOBODY_THERE, RestNodes

POD = "localhost"
"""Host of the nodes that share the executor's Pod."""

LOG = logging.getLogger(__name__)


class Readiness:
    """Asks the nodes; answers that are fresh enough are given again, so that probes cannot flood the nodes."""

    def __init__(
        self,
        nodes: RestNodes,
        *,
        addresses: Addresses,
        full_checks: bool = False,
        dialect: Dialect = SELDON,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._nodes = nodes
        self._addresses = addresses
        self._full_check_path = dialect.full_check_path if full_checks else ""
        self._learn_path = dialect.learn_path
        self._reach_path = dialect.learn_path or dialect.full_check_path or "/"
        self._clock = clock
        self._asked_at = float("-inf")
        self._problems: list[str] = ["no node has been asked yet"]
        self._lock = asyncio.Lock()

    async def problems(self, root: Node) -> list[str]:
        """Why the graph cannot be called right now; empty when it can."""
        async with self._lock:
            if self._clock() - self._asked_at >= FIRST_READY_POLL_S:
                self._problems = await self.ask(root)
                self._asked_at = self._clock()
            return self._problems

    async def ask(self, root: Node) -> list[str]:
        """``problems``, always by asking."""
        answers = await asyncio.gather(*(self._ask_node(node) for node in root.walk() if node.endpoint is not None))
        return [problem for problem in answers if problem]

    async def wait(self, root: Callable[[], Node]) -> None:
        """Return when the graph can be called for the first time."""
        told: list[str] = []
        while found := await self.problems(root()):
            if found != told:
                LOG.info("not ready: %s", "; ".join(found))
                told = found
            await asyncio.sleep(FIRST_READY_POLL_S)

    async def _ask_node(self, node: Node) -> str:
        endpoint = node.endpoint
        if endpoint is None:
            return ""
        host = self._addresses.resolve(endpoint.host)
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                _, writer = await asyncio.open_connection(host, endpoint.service_port)
                writer.close()
                has_learnt = not self._learn_path or self._nodes.knows(node)
                if not has_learnt:
                    await self._learn(node, endpoint)
                if self._full_check_path:
                    await self._nodes.fetch(node, self._full_check_path)
            if has_learnt:  # else it was asked just now
                await self._reach(node, endpoint)
        except TimeoutError:
            return f"node {node.name}: no answer from {host}:{endpoint.service_port} within {PROBE_TIMEOUT_S:g} s"
        except OSError as error:
            return f"node {node.name}: {host}:{endpoint.service_port}: {error.strerror or error}"
        except UnicodeError as error:
            return f"node {node.name}: {host[:80]!r} is no host name: {error}"
        except RequestError as error:
            return str(error)
        return ""

    async def _learn(self, node: Node, endpoint: Endpoint) -> None:
        """The node's wire, once."""
        try:
            await self._nodes.fetch(node, self._learn_path)
        except NodeAnswered as error:  # it answered, that is enough: its wire is known now
            _check_is_there(error, endpoint)
            LOG.info("metadata of %s", error)
        except NodeUnreachable:
            if not _is_grpc_only(endpoint):
                raise
            LOG.info("node %s serves gRPC only", node.name)

    async def _reach(self, node: Node, endpoint: Endpoint) -> None:
        """A mesh takes connections for Services with nobody behind them, and says so to a request only.

        Of nodes in other Pods: a busy one, which does not answer in time, is there.
        """
        if not _is_service(endpoint.host):
            return
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                await self._nodes.fetch(node, self._reach_path)
        except NodeAnswered as error:
            _check_is_there(error, endpoint)
        except (TimeoutError, NodeTimeout):
            LOG.debug("node %s: busy", node.name)
        except NodeUnreachable:
            if not _is_grpc_only(endpoint):
                raise


def _is_service(host: str) -> bool:
    """Whether it is a name that others stand behind, no address and not the executor's own Pod."""
    return host != POD and not is_ip_address(host)


def _is_grpc_only(endpoint: Endpoint) -> bool:
    return endpoint.service_port == endpoint.grpc_port


def _check_is_there(error: NodeAnswered, endpoint: Endpoint) -> None:
    """Raises ``error`` where a mesh or a gateway gave it for a node; what serves gRPC only is no better over REST."""
    if error.reason == NO_READY_PREDICTOR or (error.status_code in NOBODY_THERE and not _is_grpc_only(endpoint)):
        raise error
