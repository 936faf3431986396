"""One call into a component: parse the message, run the hook, collect tags, metrics and names, render the reply.

Everything here runs in a worker thread, as one critical section unless more threads were asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from slipway.contract.protos import prediction_pb2 as pb
from slipway.microservice.batching import NotRowsError, OwnMetaError, join, split
from slipway.microservice.component import Component, HookMissingError
from slipway.microservice.custom_metrics import CustomMetrics, checked_metrics
from slipway.microservice.inputs import Input, array_of_data
from slipway.microservice.replies import Reply, array_kind_of, as_array, default_names
from slipway.microservice.settings import Identity
from slipway.serving.errors import INTERNAL, ServingError
from slipway.serving.messages import part_to_json
from slipway.serving.meta import merged_meta

METHODS = {
    "predict": "predict",
    "transform_input": "inputtransform",
    "transform_output": "outputtransform",
    "route": "router",
    "aggregate": "aggregate",
    "send_feedback": "feedback",
    "health_status": "health",
}
"""Hook → the value of the ``method`` label."""


NO_NAMES = object()
RESULT_TYPES = 64
"""Types of results that are remembered."""


@dataclass(frozen=True)
class Verbatim:
    """What a raw hook returned: sent as it is."""

    message: Any


Answer = Reply | Verbatim


@dataclass(frozen=True)
class Hooks:
    """A component with what every reply needs besides its data."""

    component: Component
    metrics: CustomMetrics
    identity: Identity
    metrics_in_replies: bool = True

    def predict(self, features: Input) -> Answer:
        return self._with_meta("predict", features, missing=[])

    def predict_together(self, requests: list[Input]) -> list[Answer]:
        """One call of ``predict`` for ``joinable`` requests; raises NotRowsError, OwnMetaError, and what the hook raises.

        Each reply has its own request's meta. Components that say tags or metrics are not to be asked so.
        """
        first, rows = requests[0], join(requests)
        data, tags, metrics = _unwrap(self.component.call_with_meta("predict", rows, first.names, first.meta))
        if tags or metrics:
            raise OwnMetaError("predict gave tags or metrics of its own")
        if data is rows and not all(one.default_names for one in requests):
            raise NotRowsError("predict gave X itself, which is the request's own tensor in an answer of V2")
        return [
            self._reply("predict", part, request, carried=request.meta or {})
            for part, request in zip(split(data, requests), requests, strict=True)
        ]

    def predict_named(self, tensors: Mapping[str, Any], request: Input, outputs: list[str]) -> Reply | None:
        """``predict_named``: named arrays in, a dict of named results out; None where the component has none.

        ``outputs``: what the client asks for, empty where it asks for all.
        """
        try:
            result = self.component.call("predict_named", tensors, request.names, outputs, request.meta)
        except HookMissingError:
            return None
        data, tags, metrics = _unwrap(result)
        if not isinstance(data, Mapping) or not data:
            raise ServingError(
                f"predict_named returned {type(data).__name__}: a dict of name and result is expected",
                status_code=500,
                reason=INTERNAL,
            )
        return self._reply("predict", _Result(dict(data), tags, metrics), request, carried=request.meta or {})

    def transform_input(self, features: Input) -> Answer:
        return self._with_meta("transform_input", features, missing=features.features)

    def transform_output(self, features: Input) -> Answer:
        return self._with_meta("transform_output", features, missing=features.features)

    def _with_meta(self, hook: str, request: Input, *, missing: Any) -> Reply:
        try:
            result = self.component.call_with_meta(hook, request.features, request.names, request.meta)
        except HookMissingError:
            result = missing
        return self._reply(hook, result, request, carried=request.meta or {})

    def route(self, request: Input) -> Answer:
        try:
            result = self.component.call_with_meta("route", request.features, request.names, request.meta)
        except HookMissingError as exc:
            raise self._undefined("route", exc) from exc
        data, tags, metrics = _unwrap(result)
        if not isinstance(data, int):
            raise ServingError(f"Routing response must be int but got {data!r} ({type(data).__name__})"[:500])
        return self._reply("route", _Result(np.array([[data]]), tags, metrics), request, carried={})

    def aggregate(self, requests: list[Input]) -> Answer:
        if not requests:
            raise ServingError("aggregate needs at least one message, the list is empty")
        features, names = [one.features for one in requests], [one.names for one in requests]
        try:
            result = self.component.call("aggregate", features, names)
        except HookMissingError as exc:
            raise self._undefined("aggregate", exc) from exc
        return self._reply("aggregate", result, requests[0], carried=merged_meta(one.meta or {} for one in requests))

    def _undefined(self, hook: str, missing: HookMissingError) -> ServingError:
        """Seldon's sentence for a hook that is not there, else what the hook itself says."""
        return ServingError(str(missing) if self.component.has(hook) else f"{hook.capitalize()} not defined")

    def send_feedback(self, feedback: pb.Feedback) -> Answer:
        """Arrays come from ``data`` only; the routing is the one that this node chose."""
        self.metrics.update_reward(feedback.reward)
        routing = feedback.response.meta.routing
        mine = self.identity.unit or "0"
        request = feedback.request
        arguments = (array_of_data(request.data), list(request.data.names), feedback.reward)
        truth = array_of_data(feedback.truth.data)
        chosen = routing[mine] if mine in routing else None  # noqa: SIM401 - a protobuf map's get() has its own default
        try:
            result = self.component.call("send_feedback", *arguments, truth, routing=chosen)
        except HookMissingError:
            result = None
        data, tags, metrics = _unwrap(result)
        kind = request.data.WhichOneof("data_oneof") or "ndarray" if request.HasField("data") else ""
        template = Input(None, [], part_to_json(request.meta), kind)
        own = _Result(np.array([]) if data is None else data, tags, metrics)
        return self._reply("send_feedback", own, template, carried={})

    def health_status(self) -> Answer:
        """Only called where the component has such a hook, see ``has_health``."""
        try:
            return Verbatim(self.component.call("health_status_raw"))
        except HookMissingError:
            return self._reply("health_status", self._health(), None, carried={})

    def _health(self) -> Any:
        try:
            return self.component.call("health_status")
        except HookMissingError:
            is_seldon = hasattr(self.component.instance, "health_status")  # the base class has one that says so
            return "not implemented - assuming healthy" if is_seldon else "healthy"

    @property
    def has_health(self) -> bool:
        return self.component.has("health_status_raw") or self.component.has("health_status")

    def raw(self, hook: str, message: Any, *, is_proto: bool) -> Verbatim | None:
        """The answer of the hook's deprecated or raw form; None where there is none."""
        for name in filter(self.component.has, _raw_names(hook, is_proto=is_proto)):
            try:
                answer = self.component.call(name, message)
            except HookMissingError:
                continue
            return Verbatim(self._counted(answer, hook))
        return None

    def has_raw(self, hook: str, *, is_proto: bool) -> bool:
        return any(map(self.component.has, _raw_names(hook, is_proto=is_proto)))

    def _counted(self, answer: Any, hook: str) -> Any:
        """Metrics inside a raw answer count too, and are taken out where clients shall not see them."""
        if isinstance(answer, pb.SeldonMessage):
            found = part_to_json(answer.meta).get("metrics", [])
            if found and not self.metrics_in_replies:
                del answer.meta.metrics[:]
        elif isinstance(answer, dict) and isinstance(answer.get("meta"), dict):
            found = answer["meta"].get("metrics", [])
            if found and not self.metrics_in_replies:
                answer = {**answer, "meta": {name: part for name, part in answer["meta"].items() if name != "metrics"}}
        else:
            return answer
        self.metrics.update(checked_metrics([{"type": "COUNTER", **one} for one in found]), METHODS[hook])
        return answer

    def _reply(self, hook: str, result: Any, request: Input | None, *, carried: Mapping[str, Any]) -> Reply:
        data, runtime_tags, runtime_metrics = _unwrap(result)
        metrics = self._own_metrics(hook, runtime_metrics)
        kind = array_kind_of(data, request)
        names = self._names(data, defaults=request is None or request.default_names) if kind else []
        tags = {**carried.get("tags", {}), **self._own_tags(), **runtime_tags}
        unit, image = self.identity.unit, self.identity.image
        path = {**({unit: image} if unit else {}), **carried.get("requestPath", {})}
        meta = {
            "tags": tags,
            "metrics": [*carried.get("metrics", []), *metrics],
            "puid": request.puid if request else "",
            "requestPath": path,
        }
        return Reply(data, names, kind, {name: part for name, part in meta.items() if part})

    def _own_tags(self) -> dict[str, Any]:
        return dict(self.component.ask("tags", None) or {})

    def _own_metrics(self, hook: str, runtime: Any) -> list[dict[str, Any]]:
        """Count the request's metrics; return them as the client shall see them."""
        method = METHODS[hook]
        found = [*checked_metrics(self.component.ask("metrics", [])), *checked_metrics(runtime)]
        self.metrics.update(found, method)
        if not self.metrics_in_replies:
            return []
        return [{**one, "tags": {**one["tags"], "method": method}} if one.get("tags") else one for one in found]

    def _names(self, data: Any, *, defaults: bool) -> Any:
        if as_array(data).ndim < 2:
            return []
        own = getattr(self.component.instance, "class_names", None)
        if own is not None and not callable(own):
            return list(own)
        names = self.component.ask("class_names", NO_NAMES)
        if names is not NO_NAMES:
            return list(names)
        return default_names(data) if defaults else []


@dataclass(frozen=True)
class _Result:
    data: Any
    tags: dict[str, Any]
    metrics: list[dict[str, Any]]


def _unwrap(result: Any) -> tuple[Any, dict[str, Any], list[dict[str, Any]]]:
    """Data, tags and metrics of a hook's result; ``SeldonResponse`` is known by name, it may be the real one."""
    if isinstance(result, _Result) or _is_response(type(result)):  # type: ignore[arg-type]  # a type is hashable
        return result.data, dict(result.tags or {}), result.metrics or []
    return result, {}, []


@lru_cache(maxsize=RESULT_TYPES)
def _is_response(kind: type) -> bool:
    return any(one.__name__ == "SeldonResponse" for one in kind.__mro__)


def _raw_names(hook: str, *, is_proto: bool) -> tuple[str, ...]:
    """In the order of the contract: the deprecated forms first; only ``predict`` tells them apart by transport."""
    if hook == "predict":
        return ("predict_grpc" if is_proto else "predict_rest", "predict_raw")
    return (f"{hook}_rest", f"{hook}_grpc", f"{hook}_raw")
