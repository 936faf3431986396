"""A V2 inference to a component's hooks and back: one class serves the seldon protocol and this one.

One tensor is ``X``; tensors of one column each are the columns of ``X``, and their names its names; anything else needs
``predict_named`` or a raw hook. Request parameters are ``meta["tags"]`` and come back as parameters of the answer, as
tags do in a SeldonMessage; the request's id is ``meta["puid"]``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from slipway.contract.datatypes import BYTES
from slipway.contract.protos import inference_pb2 as v2
from slipway.contract.protos import prediction_pb2 as pb
from slipway.microservice.hooks import Answer, Hooks, Verbatim
from slipway.microservice.inputs import Input, input_of_json, input_of_proto
from slipway.microservice.replies import Reply, array_kind_of, as_array
from slipway.serving.errors import INTERNAL, NOT_FOUND, ServingError
from slipway.serving.json_body import dump_json, parse_json
from slipway.serving.v2_json import CONTENT_TYPE, infer_response_of
from slipway.serving.v2_messages import CHILD, InferRequest, InferResponse, without_wire
from slipway.serving.v2_proto import parse_infer_response_proto
from slipway.serving.v2_tensors import Tensor, objects, tensor_of

INFER_HOOKS = ("predict", "transform_input", "transform_output")
"""What ``infer`` may mean, in the order of preference where the caller does not say."""
HOOKS = (*INFER_HOOKS, "route", "aggregate")
NAMES = "names"
"""Parameter of a tensor: the names of its columns, as a JSON list."""
TEXT, OBJECT = "str", "json"
"""Values of ``content_type`` for BYTES: its elements are texts, or one is a JSON document."""
DEFAULT_OUTPUT = "output-0"

RawMessage = Callable[[], Any]


@dataclass(frozen=True)
class ServedModel:
    """What answers say of the model. ``names``: what URLs may call it, the first one answers."""

    names: tuple[str, ...]
    version: str = ""
    outputs: tuple[str, ...] = ()

    def check(self, name: str, version: str) -> None:
        """ServingError 404 for another model's name or version; empty ones are always right."""
        if name and name not in self.names:
            raise _no_model(f"no model {name[:80]!r} is served here; it is {' or '.join(self.names)}")
        if version and version != self.version:
            raise _no_model(f"model {self.names[0]} has no version {version[:80]!r} here; it is {self.version!r}")


def _no_model(info: str) -> ServingError:
    return ServingError(info, status_code=404, reason=NOT_FOUND)


def chosen_hook(hooks: Hooks, named: str) -> str:
    """The hook that an inference is for: the one that the executor names, else the first that the component has.

    Raises ServingError 400 for a name that is no hook's.
    """
    if named:
        if named not in HOOKS:
            raise ServingError(f"x-slipway-hook is {named[:40]!r}, not one of {', '.join(HOOKS)}")
        return named
    for hook in INFER_HOOKS:
        if _has(hooks, hook):
            return hook
    return "predict"


def call_v2(
    hooks: Hooks, hook: str, requests: Sequence[InferRequest], *, raw: RawMessage, is_proto: bool, model: ServedModel
) -> tuple[InferResponse, float]:
    """The answer and the component's milliseconds; ``requests`` are several for aggregate only.

    ``raw`` makes the message that a raw hook gets. Raises ServingError, and whatever the hook raises.
    """
    if not requests:
        raise ServingError("aggregate needs at least one message, the list is empty")
    if hook.startswith("transform_") and not _has(hooks, hook):
        return _signed(
            InferResponse(requests[0].inputs, parameters=without_wire(requests[0].parameters)), requests[0], model
        ), 0.0
    begun = time.perf_counter()
    answer: Answer | None = None
    if hooks.has_raw(hook, is_proto=is_proto):
        answer = hooks.raw(hook, raw(), is_proto=is_proto)
    if answer is None and hook == "predict" and hooks.component.has("predict_named"):
        begun = time.perf_counter()
        if named := _call_named(hooks, requests[0]):
            component_ms = (time.perf_counter() - begun) * 1000
            _check_outputs(requests[0], named)
            return _signed(named, requests[0], model), component_ms
    inputs: list[Input] = []
    if answer is None:
        inputs = [input_of_request(request) for request in requests]
        begun = time.perf_counter()
        answer = hooks.aggregate(inputs) if hook == "aggregate" else getattr(hooks, hook)(inputs[0])
    component_ms = (time.perf_counter() - begun) * 1000
    return response_of(answer, hook, requests[0], model, features=inputs[0].features if inputs else None), component_ms


def response_of(
    answer: Answer, hook: str, request: InferRequest, model: ServedModel, *, features: Any
) -> InferResponse:
    """A hook's answer to ``request`` in this protocol; ``features`` is what the hook got as X.

    Raises ServingError for an answer that has no such form, and for outputs that the model has not.
    """
    if isinstance(answer, Verbatim):
        response = _response_of_raw(answer.message, hook, request, model)
    elif hook != "aggregate" and _is_unchanged(answer.data, features, request):
        same = replace(request.inputs[0], name=_output_name(hook, request, model))  # as it came, BF16 too
        response = InferResponse((same,), parameters=_parameters(answer))
    else:
        output = _output(answer, _output_name(hook, request, model))
        response = InferResponse((output,), parameters=_parameters(answer))
    if hook in INFER_HOOKS:
        _check_outputs(request, response)
    return _signed(response, request, model)


def _is_unchanged(data: Any, features: Any, request: InferRequest) -> bool:
    """Whether a hook gave its one tensor back: the array itself (changed in place or not), or bytes or a text."""
    if data is not features or len(request.inputs) != 1:
        return False
    return data is request.inputs[0].array or isinstance(data, (bytes, str))


def _signed(response: InferResponse, request: InferRequest, model: ServedModel) -> InferResponse:
    return replace(response, id=request.id, model_name=model.names[0], model_version=model.version)


def _has(hooks: Hooks, hook: str) -> bool:
    return hooks.component.has(hook) or any(hooks.has_raw(hook, is_proto=is_proto) for is_proto in (False, True))


def _call_named(hooks: Hooks, request: InferRequest) -> InferResponse | None:
    """The answer of ``predict_named``, which gets every tensor by its name; None where there is no such hook."""
    tensors = {tensor.name: _array(tensor) for tensor in request.inputs}
    names = _names(request.inputs[0]) if len(request.inputs) == 1 else []
    carried = Input(None, names, _meta(request), "tensor", default_names=False)
    reply = hooks.predict_named(tensors, carried, [requested.name for requested in request.outputs])
    if reply is None:
        return None
    results = {
        str(name): replace(reply, data=data, names=[], array_kind=array_kind_of(data, None))
        for name, data in reply.data.items()
    }
    outputs = tuple(_output(result, name) for name, result in results.items())
    return InferResponse(outputs, parameters=_parameters(reply))


def _array(tensor: Tensor) -> Any:
    """An array always; BYTES as its parameter ``content_type`` says: texts, JSON values, or bytes."""
    if tensor.datatype != BYTES:
        return tensor.array
    items, kind = tensor.array.ravel().tolist(), tensor.parameters.get(CONTENT_TYPE)
    if kind in (TEXT, OBJECT):
        items = [_decoded(item, tensor.name) for item in items]
    if kind == OBJECT:
        items = [parse_json(item, what=f"input {tensor.name}") for item in items]
    return objects(items, tensor.shape)


def _meta(request: InferRequest) -> dict[str, Any]:
    return {"tags": without_wire(request.parameters), **({"puid": request.id} if request.id else {})}


def input_of_request(request: InferRequest) -> Input:
    """The hook's arguments; ServingError 400 for tensors that no ``X`` stands for."""
    meta = _meta(request)
    if len(request.inputs) == 1:
        tensor = request.inputs[0]
        return Input(_features(tensor), _names(tensor), meta, "tensor", default_names=False)
    arrays = [tensor.array for tensor in request.inputs]
    rows = {len(array) if array.ndim else 0 for array in arrays}
    is_column = all(array.ndim == 1 or (array.ndim == 2 and array.shape[1] == 1) for array in arrays)
    if len(rows) != 1 or not is_column or any(tensor.datatype == BYTES for tensor in request.inputs):
        shapes = ", ".join(
            f"{tensor.name[:40]} {tensor.datatype} {list(tensor.shape)}" for tensor in request.inputs[:8]
        )
        raise ServingError(
            f"the request has {len(request.inputs)} inputs ({shapes}): a component without predict_named or "
            "predict_raw takes one tensor, or numeric columns of one length each"
        )
    return Input(np.column_stack(arrays), [tensor.name for tensor in request.inputs], meta, "tensor", False)


def _features(tensor: Tensor) -> Any:
    """Numbers as an array. BYTES: one element as it is (bytes, text or JSON), several as an array of them."""
    if tensor.datatype != BYTES:
        return tensor.array
    items, kind = tensor.array.ravel().tolist(), tensor.parameters.get(CONTENT_TYPE)
    if kind not in (TEXT, OBJECT):
        return items[0] if len(items) == 1 else tensor.array
    items = [_decoded(item, tensor.name) for item in items]
    if len(items) != 1:
        return objects(items, tensor.shape)
    return parse_json(items[0], what=f"input {tensor.name}") if kind == OBJECT else items[0]


def _decoded(item: bytes, name: str) -> str:
    try:
        return item.decode()
    except UnicodeDecodeError as exc:
        raise ServingError(f"input {name[:80]}: an element is not UTF-8 at byte {exc.start}") from exc


def _names(tensor: Tensor) -> list[Any]:
    given = tensor.parameters.get(NAMES, [])
    if isinstance(given, str):
        given = parse_json(given, what=f"input {tensor.name[:80]}: the parameter {NAMES}")
    if not isinstance(given, list):
        raise ServingError(f"input {tensor.name[:80]}: the parameter {NAMES} is {type(given).__name__}, not a list")
    return given


def _output(reply: Reply, name: str) -> Tensor:
    data = reply.data
    if isinstance(data, (bytes, bytearray)):
        return Tensor(name, BYTES, objects([bytes(data)], (1,)))
    if isinstance(data, str):
        return Tensor(name, BYTES, objects([data.encode()], (1,)), {CONTENT_TYPE: TEXT})
    if isinstance(data, dict):
        return Tensor(name, BYTES, objects([_json_of(data)], (1,)), {CONTENT_TYPE: OBJECT})
    if not reply.array_kind:
        kind = type(data).__name__
        raise ServingError(f"the component returned {kind}: a list, a numpy array, dict, str or bytes is expected")
    array = as_array(data)
    parameters: dict[str, Any] = {}
    if list(reply.names):
        parameters[NAMES] = dump_json(list(reply.names)).decode()
    if array.dtype.kind == "U":
        parameters[CONTENT_TYPE] = TEXT
    return tensor_of(name, array, parameters)


def _json_of(data: Mapping[str, Any]) -> bytes:
    try:
        return dump_json(data)
    except (TypeError, ValueError, RecursionError) as exc:
        raise _broken(f"the component's reply has no JSON form: {exc}") from exc


def _output_name(hook: str, request: InferRequest, model: ServedModel) -> str:
    """A transformer keeps its input's name; a model has the name it declares, else the one that the client asks for."""
    if hook != "predict":
        return "route" if hook == "route" else request.inputs[0].name
    if model.outputs:
        return model.outputs[0]
    return request.outputs[0].name if len(request.outputs) == 1 else DEFAULT_OUTPUT


def _parameters(reply: Reply) -> dict[str, Any]:
    """The tags, of which lists and objects become JSON texts: parameters are scalars."""
    tags = reply.meta.get("tags", {}).items()
    return {
        name: value if isinstance(value, (bool, int, float, str)) else dump_json(value).decode()
        for name, value in tags
        if value is not None
    }


def _check_outputs(request: InferRequest, response: InferResponse) -> None:
    known = [tensor.name for tensor in response.outputs]
    for requested in request.outputs:
        if requested.name not in known:
            raise ServingError(f"output {requested.name[:80]!r} is none of the model's: {', '.join(known)}"[:500])


def _response_of_raw(message: Any, hook: str, request: InferRequest, model: ServedModel) -> InferResponse:
    """A raw hook answers in this protocol or in the seldon one, as a dict or a protobuf message."""
    try:
        if isinstance(message, v2.ModelInferResponse):
            return parse_infer_response_proto(message)
        if isinstance(message, Mapping) and "outputs" in message:
            return infer_response_of(parse_json(dump_json(message)))
        given = input_of_proto(message) if isinstance(message, pb.SeldonMessage) else input_of_json(message)
    except (ServingError, TypeError, ValueError) as exc:
        raise _broken(f"the raw hook's reply is neither a V2 response nor a SeldonMessage: {exc}") from exc
    meta = {"tags": (given.meta or {}).get("tags", {})}
    reply = Reply(given.features, given.names, given.array_kind, meta)
    return InferResponse((_output(reply, _output_name(hook, request, model)),), parameters=_parameters(reply))


def _broken(info: str) -> ServingError:
    return ServingError(info, status_code=500, reason=INTERNAL)


def requests_of_answers(answers: Sequence[InferResponse]) -> list[InferRequest]:
    """The children's answers as a combiner's hook takes them."""
    return [InferRequest(answer.outputs, answer.id, answer.parameters) for answer in answers]


def requests_of_joined(request: InferRequest) -> list[InferRequest]:
    """A combiner's gRPC request, in which every input says which child's it is, taken apart again.

    Inputs that say nothing are a child each. Raises ServingError 400 for a child that is no number.
    """
    groups: dict[int, list[Tensor]] = {}
    for place, tensor in enumerate(request.inputs):
        child = tensor.parameters.get(CHILD, place)
        if isinstance(child, bool) or not isinstance(child, int):
            raise ServingError(f"input {tensor.name[:80]}: {CHILD} is {child!r:.40}, not the number of a child")
        parameters = {name: value for name, value in tensor.parameters.items() if name != CHILD}
        groups.setdefault(child, []).append(replace(tensor, parameters=parameters))
    return [replace(request, inputs=tuple(groups[child])) for child in sorted(groups)]
