"""Where the executor has to read V2 tensors: combiners, routers' answers, built-in implementations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from slipway.contract.protos import inference_pb2 as v2
from slipway.executor.built_in import SIMPLE_ANSWER
from slipway.executor.errors import CombineError, RouteError
from slipway.executor.payload import Payload
from slipway.serving.errors import ServingError
from slipway.serving.json_body import parse_json
from slipway.serving.messages import JSON, PROTOBUF, parse_message
from slipway.serving.v2_json import (
    V2Body,
    parse_infer_request,
    parse_infer_response,
    render_infer_request,
    render_infer_response,
)
from slipway.serving.v2_messages import CHILD, InferRequest, InferResponse
from slipway.serving.v2_proto import (
    parse_infer_request_proto,
    parse_infer_response_proto,
    render_infer_request_proto,
    render_infer_response_proto,
)
from slipway.serving.v2_tensors import Array, Tensor

OCTETS = "application/octet-stream"
_SIMPLE_DATA = SIMPLE_ANSWER["data"]["tensor"]


def join(answers: Sequence[Payload]) -> Payload:
    """What a combiner is asked: over REST a JSON array of the answers (contract §3.2); over gRPC one request.

    In that request the inputs are the children's outputs, each with the number of its child as a parameter.
    Raises CombineError for an answer that is no inference response.
    """
    if answers and all(answer.is_protobuf for answer in answers):
        return _joined_proto([_parsed(answer, place) for place, answer in enumerate(answers)])
    texts = [_json_text(answer, place) for place, answer in enumerate(answers)]
    return Payload(b"[" + b",".join(texts) + b"]", JSON)


def _json_text(answer: Payload, place: int) -> bytes:
    """The answer in JSON alone: combiners over REST get an array, which has no place for binary parts."""
    if answer.is_protobuf or answer.json_bytes is not None:
        return render_infer_response(_parsed(answer, place), binary=_never).body
    try:
        found = parse_json(answer.body, what=f"the answer of child {place}")
    except ServingError as error:
        raise CombineError(f"{error}: it cannot be combined") from error
    if not isinstance(found, dict) or "outputs" not in found:
        raise CombineError(f"the answer of child {place} is no inference response: it has no outputs")
    return answer.body


def _never(_output: str) -> bool:
    return False


def _joined_proto(answers: Sequence[InferResponse]) -> Payload:
    inputs = tuple(
        replace(tensor, parameters={**tensor.parameters, CHILD: place})
        for place, answer in enumerate(answers)
        for tensor in answer.outputs
    )
    request = InferRequest(inputs, answers[0].id, _merged(answers), is_raw=True)
    return Payload(render_infer_request_proto(request).SerializeToString(), PROTOBUF)


def _merged(answers: Sequence[InferResponse]) -> dict[str, object]:
    """Parameters left to right, later ones win, as the wrapper merges tags."""
    return {name: value for answer in answers for name, value in answer.parameters.items()}


def _parsed(answer: Payload, place: int) -> InferResponse:
    try:
        return _response(answer)
    except ServingError as error:
        raise CombineError(f"the answer of child {place} is no inference response: {error}") from error


def _response(answer: Payload) -> InferResponse:
    if answer.is_protobuf:
        return parse_infer_response_proto(parse_message(answer.body, v2.ModelInferResponse))
    return parse_infer_response(V2Body(answer.body, answer.json_bytes))


def _rendered(response: InferResponse, like: Payload) -> Payload:
    if like.is_protobuf:
        return Payload(render_infer_response_proto(response, is_raw=True).SerializeToString(), PROTOBUF, is_answer=True)
    wants: Callable[[str], bool] = _never if like.json_bytes is None else (lambda _output: True)
    body = render_infer_response(response, binary=wants)
    return Payload(body.body, JSON if body.json_bytes is None else OCTETS, json_bytes=body.json_bytes, is_answer=True)


def to_json(payload: Payload) -> Payload:
    """A protobuf request or answer in the REST form, all of it JSON; ServingError for one that cannot be read."""
    if payload.is_answer:
        body = render_infer_response(_response(payload), binary=_never).body
    else:
        request = parse_infer_request_proto(parse_message(payload.body, v2.ModelInferRequest))
        body = render_infer_request(request, binary=_never).body
    return Payload(body, JSON, is_answer=payload.is_answer)


def first_number(answer: Payload, *, router: str) -> float:
    """The first element of a router's first output; RouteError where that is no number."""
    try:
        outputs = _response(answer).outputs
    except ServingError as error:
        raise RouteError(f"router {router}: the answer is no inference response: {error}") from error
    if not outputs or outputs[0].array.size == 0 or outputs[0].array.dtype.kind not in "iufb":
        raise RouteError(f"router {router}: the answer holds no route; expected one number in its first output")
    return float(outputs[0].array.ravel()[0])


def simple_answer(payload: Payload) -> Payload:
    """SIMPLE_MODEL: the same answer to everything, with the request's id."""
    if payload.is_answer:
        identifier = _response(payload).id
    elif payload.is_protobuf:
        identifier = parse_infer_request_proto(parse_message(payload.body, v2.ModelInferRequest)).id
    else:
        identifier = parse_infer_request(V2Body(payload.body, payload.json_bytes)).id
    array = np.array(_SIMPLE_DATA["values"]).reshape(_SIMPLE_DATA["shape"])
    return _rendered(InferResponse((Tensor("output-0", "FP64", array),), id=identifier), payload)


def average(answers: Sequence[Payload], *, node: str) -> Payload:
    """AVERAGE_COMBINER: the mean of the children's outputs of one name, in the form of the first answer.

    Floating-point datatypes stay, integers become FP64. Raises CombineError where outputs differ in name or shape.
    """
    responses = [_parsed(answer, place) for place, answer in enumerate(answers)]
    first = responses[0]
    outputs = tuple(_mean([_like(tensor, response, node) for response in responses]) for tensor in first.outputs)
    return _rendered(replace(first, outputs=outputs, parameters=_merged(responses)), answers[0])


def _like(tensor: Tensor, response: InferResponse, node: str) -> Tensor:
    for other in response.outputs:
        if (other.name, other.shape, other.datatype) == (tensor.name, tensor.shape, tensor.datatype):
            if tensor.array.dtype.kind in "iuf":
                return other
            break
    kind = f"{tensor.name[:80]} {tensor.datatype} {list(tensor.shape)}"
    found = ", ".join(f"{other.name[:40]} {other.datatype} {list(other.shape)}" for other in response.outputs[:8])
    raise CombineError(f"node {node}: AVERAGE_COMBINER needs numbers {kind} of every child, one answers {found}")


def _mean(tensors: Sequence[Tensor]) -> Tensor:
    first = tensors[0]
    mean: Array = np.mean([tensor.array for tensor in tensors], axis=0, dtype="f8")
    if first.array.dtype.kind == "f":
        return replace(first, array=mean.astype(first.array.dtype))
    return replace(first, datatype="FP64", array=mean)
