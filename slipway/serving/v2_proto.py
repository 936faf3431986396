"""The gRPC form of V2 inferences: ``inference.ModelInferRequest`` and its response, with typed or raw contents."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from slipway.contract.datatypes import BYTES
from slipway.contract.protos import inference_pb2 as v2
from slipway.serving.errors import ServingError
from slipway.serving.json_body import dump_json
from slipway.serving.v2_messages import (
    InferRequest,
    InferResponse,
    RequestedOutput,
    check_count,
    check_parameters,
    without_wire,
)
from slipway.serving.v2_tensors import (
    Array,
    Tensor,
    array_of_raw,
    array_of_values,
    bad,
    check_datatype,
    count_of,
    raw_of,
)

CONTENTS: Mapping[str, str] = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    BYTES: "bytes_contents",
}
"""Datatype → the typed field of its values; FP16 and BF16 have none and travel raw."""


def parse_infer_request_proto(message: v2.ModelInferRequest) -> InferRequest:
    """ServingError 400 for tensors whose contents do not fit what they say of themselves."""
    inputs = _tensors(message.inputs, message.raw_input_contents, "inputs")
    check_count(message.outputs, "outputs")
    if not inputs:
        raise bad("inputs is empty: an inference takes at least one tensor")
    return InferRequest(
        inputs=inputs,
        id=message.id,
        parameters=parameters_of(message.parameters, "the request"),
        outputs=tuple(_requested(output) for output in message.outputs),
        model_name=message.model_name,
        model_version=message.model_version,
        is_raw=bool(message.raw_input_contents),
    )


def parse_infer_response_proto(message: v2.ModelInferResponse) -> InferResponse:
    """As ``parse_infer_request_proto``."""
    return InferResponse(
        outputs=_tensors(message.outputs, message.raw_output_contents, "outputs"),
        id=message.id,
        parameters=parameters_of(message.parameters, "the answer"),
        model_name=message.model_name,
        model_version=message.model_version,
    )


def render_infer_response_proto(response: InferResponse, *, is_raw: bool) -> v2.ModelInferResponse:
    """Typed contents, or raw ones where asked for or where a datatype has no other."""
    message = v2.ModelInferResponse(
        model_name=response.model_name, model_version=response.model_version, id=response.id
    )
    fill_parameters(message.parameters, response.parameters)
    _fill_tensors(message.outputs.add, message.raw_output_contents, response.outputs, is_raw=is_raw)
    return message


def render_infer_request_proto(request: InferRequest) -> v2.ModelInferRequest:
    """Contents are typed or raw as ``request.is_raw`` says."""
    message = v2.ModelInferRequest(model_name=request.model_name, model_version=request.model_version, id=request.id)
    fill_parameters(message.parameters, request.parameters)
    for output in request.outputs:
        fill_parameters(message.outputs.add(name=output.name).parameters, output.parameters)
    _fill_tensors(message.inputs.add, message.raw_input_contents, request.inputs, is_raw=request.is_raw)
    return message


def _requested(output: v2.ModelInferRequest.InferRequestedOutputTensor) -> RequestedOutput:
    return RequestedOutput(output.name, parameters_of(output.parameters, f"output {output.name[:80]}"))


def _tensors(tensors: Sequence[Any], raw: Sequence[bytes], key: str) -> tuple[Tensor, ...]:
    if raw and len(raw) != len(tensors):
        raise bad(f"{key}: {len(tensors)} tensors, but {len(raw)} raw contents")
    check_count(tensors, key)
    return tuple(
        _tensor(tensor, raw[place] if raw else None, f"{key}[{place}]") for place, tensor in enumerate(tensors)
    )


def _tensor(tensor: Any, raw: bytes | None, what: str) -> Tensor:
    if not tensor.name:
        raise bad(f"{what}: has no name")
    shape, datatype = list(tensor.shape), tensor.datatype
    parameters = parameters_of(tensor.parameters, what)
    if raw is None:
        array = _array_of_contents(tensor.contents, datatype, shape, what)
    elif tensor.HasField("contents"):
        raise bad(f"{what}: has contents and raw contents")
    else:
        array = array_of_raw(raw, datatype, shape, what)
    return Tensor(tensor.name, datatype, array, without_wire(parameters))


def _array_of_contents(contents: v2.InferTensorContents, datatype: str, shape: list[int], what: str) -> Array:
    check_datatype(datatype, what)
    count = count_of(shape, what)
    field = CONTENTS.get(datatype)
    others = [found.name for found, _ in contents.ListFields() if found.name != field]
    if others or (field is None and count):
        raise bad(f"{what}: the contents of {datatype} are {field or 'raw'}, found {', '.join(others) or 'nothing'}")
    values: Sequence[Any] = getattr(contents, field) if field else ()
    if len(values) != count:
        raise bad(f"{what}: shape {shape} wants {count} values, found {len(values)}")
    if datatype in ("FP32", "FP64"):
        return np.fromiter(values, dtype="<f4" if datatype == "FP32" else "<f8", count=count).reshape(shape)
    return array_of_values(list(values), datatype, shape, what)


def _fill_tensors(add: Callable[..., Any], raw_contents: Any, tensors: Iterable[Tensor], *, is_raw: bool) -> None:
    tensors = tuple(tensors)
    is_raw = is_raw or any(tensor.datatype not in CONTENTS for tensor in tensors)
    for tensor in tensors:
        message = add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        fill_parameters(message.parameters, tensor.parameters)
        if is_raw:
            raw_contents.append(raw_of(tensor))
        else:
            getattr(message.contents, CONTENTS[tensor.datatype]).extend(tensor.array.ravel().tolist())


def parameters_of(parameters: Mapping[str, v2.InferParameter], what: str) -> dict[str, Any]:
    """Plain values; a parameter without one is left out. ServingError 400 for what ``check_parameters`` refuses."""
    check_parameters(parameters, what)
    found = {}
    for name, parameter in parameters.items():
        if kind := parameter.WhichOneof("parameter_choice"):
            found[name] = getattr(parameter, kind)
    return found


def fill_parameters(into: Any, parameters: Mapping[str, Any]) -> None:
    """Each value in its own kind; what has none (lists, objects) as its JSON text; null is no parameter."""
    for name, value in parameters.items():
        if value is None:
            continue
        if isinstance(value, bool):
            into[name].bool_param = value
        elif isinstance(value, int):
            _fill_integer(into[name], name, value)
        elif isinstance(value, float):
            into[name].double_param = value
        else:
            into[name].string_param = value if isinstance(value, str) else dump_json(value).decode()


def _fill_integer(into: v2.InferParameter, name: str, value: int) -> None:
    try:
        if value < 2**63:
            into.int64_param = value
        else:
            into.uint64_param = value
    except ValueError as exc:
        raise ServingError(f"parameter {name[:80]}: {value} does not fit 64 bits") from exc
