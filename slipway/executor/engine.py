"""What both surfaces share: the graph of the moment, the clients of its nodes, admission, deadlines."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable
from typing import Any, TypeVar

from slipway.contract.headers import PREDICTOR
from slipway.contract.protos import prediction_pb2 as pb
from slipway.executor.addresses import Addresses
from slipway.executor.dialect import METADATA_PATH, SELDON, Dialect
from slipway.executor.errors import DeadlineError, UnknownNode
from slipway.executor.graph import EventKind, Graph, Node
from slipway.executor.grpc_client import METADATA_METHOD, GrpcNodes
from slipway.executor.limits import MAX_LOG_BYTES
from slipway.executor.metadata import describe_json, describe_proto
from slipway.executor.metrics import ExecutorMetrics, Identity
from slipway.executor.payload import Payload, Wire, inflate
from slipway.executor.payload_log import PayloadLog
from slipway.executor.payload_log_event import Origin, skips_logging
from slipway.executor.payload_log_queue import Bounds
from slipway.executor.readiness import Readiness
from slipway.executor.rest_client import RestNodes
from slipway.executor.run import Journey, NodeClient, Run, apart, run_feedback, run_graph
from slipway.executor.settings import Settings
from slipway.executor.timeouts import CallLimits
from slipway.serving.addressee import check_addressee
from slipway.serving.admission import Admission
from slipway.serving.limits import MAX_IN_FLIGHT
from slipway.serving.messages import parse_message
from slipway.serving.pressure import Pressure
from slipway.serving.tracing import OFF, Tracing

LOG = logging.getLogger(__name__)
T = TypeVar("T")


class Engine:
    """Runs requests through the graph; the graph may be replaced while requests are under way."""

    def __init__(
        self,
        graph: Graph,
        *,
        settings: Settings,
        limits: CallLimits,
        dialect: Dialect = SELDON,
        tracing: Tracing = OFF,
    ) -> None:
        addresses = Addresses(pod_ip=settings.pod_ip, hosts_file=settings.hosts_file)
        self.graph = graph
        self.limits = limits
        self.admission = Admission(max_requests=min(settings.max_in_flight, MAX_IN_FLIGHT))
        self.metrics = ExecutorMetrics(Identity(settings.deployment, graph.predictor, graph.version))
        self.dialect = dialect
        self.tracing = tracing
        self.metrics.registry.register(Pressure(self.metrics.labels, lambda: self.admission.requests))
        if tracing.collector is not None:
            self.metrics.registry.register(tracing.collector)
        self.rest = RestNodes(
            addresses=addresses,
            metrics=self.metrics,
            timeout_s=limits.rest_timeout_s,
            dialect=dialect,
            tracing=tracing,
        )
        self.grpc = GrpcNodes(
            addresses=addresses,
            metrics=self.metrics,
            timeout_s=limits.grpc_timeout_s,
            max_message_bytes=limits.grpc_max_message_bytes,
            dialect=dialect,
            tracing=tracing,
        )
        self.payload_log = PayloadLog(
            functools.partial(self._origin, settings),
            dialect=dialect,
            addresses=addresses,
            bounds=Bounds(settings.log_entries, settings.log_wait_s, MAX_LOG_BYTES),
            workers=settings.log_workers,
            registry=self.metrics.registry,
        )
        self._readiness = Readiness(
            self.rest, addresses=addresses, full_checks=settings.full_health_checks, dialect=dialect
        )
        self._injects_routing = settings.injects_routing and dialect.injects_routing

    def node(self, name: str) -> Node:
        """The node of that name; UnknownNode, with the names that there are, if it is none of the graph's."""
        try:
            return self.graph.nodes[name]
        except KeyError:
            known = ", ".join(self.graph.nodes)
            raise UnknownNode(f"predictor {self.graph.predictor} has no node {name[:80]!r}; it has {known}") from None

    def signature(self) -> dict[str, str]:
        """Headers and trailing metadata of every answer."""
        return {PREDICTOR: self.graph.predictor}

    async def predict(self, payload: Payload, *, client: NodeClient, journey: Journey, ask: Wire) -> Payload:
        run = Run(
            client,
            journey,
            payload,
            dialect=self.dialect,
            injects_routing=self._injects_routing,
            recorder=self._recorder(journey),
        )
        answer = await self.in_time(run_graph(self.graph.root, payload, run=run, ask=ask), journey)
        return answer if answer.is_answer else await apart(lambda: self.dialect.answer(answer), answer)

    async def feedback(self, payload: Payload, *, client: NodeClient, journey: Journey) -> Payload:
        check_addressee(journey.answered_by, self.graph.predictor)
        run = Run(client, journey, payload, recorder=self._recorder(journey))
        return await self.in_time(run_feedback(self.graph.root, payload, run=run), journey)

    def record_feedback(self, payload: Payload, journey: Journey) -> None:
        """A feedback that is given back to its client without asking a node (contract §3.5)."""
        check_addressee(journey.answered_by, self.graph.predictor)
        if recorder := self._recorder(journey):
            for node in self.graph.root.walk():
                if node.logger is not None and EventKind.FEEDBACK in node.logger.kinds:
                    recorder.add(node, EventKind.FEEDBACK, payload, puid=journey.puid)

    def _recorder(self, journey: Journey) -> PayloadLog | None:
        return self.payload_log if self.graph.is_logged and not skips_logging(journey.headers) else None

    async def rest_metadata(self, journey: Journey) -> dict[str, Any]:
        """The graph's metadata as JSON, asked of every node over REST."""
        root, asked = self.graph.root, self.graph.callable_nodes()
        answers = [inflate(await self.rest.fetch(node, METADATA_PATH, journey=journey)).body for node in asked]
        bodies = {node.name: answer for node, answer in zip(asked, answers, strict=True)}
        return describe_json(self.graph.predictor, root, bodies)

    async def grpc_metadata(self, journey: Journey) -> pb.SeldonGraphMetadata:
        """The graph's metadata as protobuf, asked of every node over gRPC."""
        root, asked = self.graph.root, self.graph.callable_nodes()
        answers = [await self.grpc.fetch(node, METADATA_METHOD, journey) for node in asked]
        models = {
            node.name: parse_message(answer, pb.SeldonModelMetadata)
            for node, answer in zip(asked, answers, strict=True)
        }
        return describe_proto(self.graph.predictor, root, models)

    async def wait_ready(self) -> None:
        await self._readiness.wait(lambda: self.graph.root)

    async def problems(self) -> list[str]:
        """Why the nodes cannot be called; empty when they can."""
        return await self._readiness.problems(self.graph.root)

    async def adopt(self, graph: Graph) -> list[str]:
        """Use ``graph`` from the next request on, if its nodes can be called; else the old one stays, for the reasons given."""
        if graph == self.graph:
            return []
        if problems := await self._readiness.ask(graph.root):
            return problems
        self.graph = graph
        self.metrics.identity = Identity(self.metrics.identity.deployment, graph.predictor, graph.version)
        self.grpc.keep(graph.root.walk())
        LOG.info("new graph: %s", ", ".join(graph.nodes))
        return []

    async def close(self) -> None:
        self.rest.close()
        await self.grpc.close()
        await self.payload_log.close()

    def _origin(self, settings: Settings) -> Origin:
        return Origin(
            settings.log_source,
            settings.deployment,
            settings.namespace,
            self.graph.predictor,
            settings.protocol or "seldon",
        )

    async def in_time(self, work: Awaitable[T], journey: Journey) -> T:
        limit_s = min(self.limits.deadline_s(nodes=len(self.graph.nodes)), journey.remaining_s)
        try:
            async with asyncio.timeout(limit_s):
                return await work
        except TimeoutError as error:
            raise DeadlineError(f"the request took longer than {limit_s:g} s, all nodes together") from error
