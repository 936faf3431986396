"""What raw hooks use of ``seldon_core.utils``: messages from one form into the other, and their parts.

Errors are ServingError 400 with a sentence; the forms are those of the contract's section 4.5.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from slipway.contract.protos import prediction_pb2 as pb
from slipway.microservice.inputs import array_of_data, input_of_json, input_of_proto
from slipway.microservice.replies import Reply, reply_to_proto
from slipway.serving.messages import feedback_to_json, feedback_to_proto, part_to_json, to_json, to_proto

ARRAY_KINDS = ("tensor", "tftensor")
"""Forms of an array besides ``ndarray``, which any other word means."""
PAYLOADS = ("data", "jsonData", "strData", "binData", "customData")


def json_to_seldon_message(message_json: Any) -> pb.SeldonMessage:
    return to_proto({} if message_json is None else message_json)


def seldon_message_to_json(message_proto: pb.SeldonMessage) -> dict[str, Any]:
    return to_json(message_proto)


def json_to_seldon_messages(message_json: Any) -> pb.SeldonMessageList:
    """``message_json``: an object with the list ``seldonMessages``."""
    messages = (message_json or {}).get("seldonMessages", [])
    return pb.SeldonMessageList(seldonMessages=[to_proto(one) for one in messages])


def seldon_messages_to_json(message_protos: pb.SeldonMessageList) -> dict[str, Any]:
    return {"seldonMessages": [to_json(one) for one in message_protos.seldonMessages]}


def json_to_feedback(message_json: Any) -> pb.Feedback:
    return feedback_to_proto(message_json)


def get_data_from_proto(request: pb.SeldonMessage) -> Any:
    """The payload as a hook's X."""
    return input_of_proto(request).features


def get_meta_from_proto(request: pb.SeldonMessage) -> dict[str, Any]:
    return part_to_json(request.meta)


def grpc_datadef_to_array(datadef: pb.DefaultData) -> np.ndarray[Any, Any]:
    return array_of_data(datadef)


def array_to_grpc_datadef(data_type: str, array: Any, names: Iterable[str] | None = ()) -> pb.DefaultData:
    """``data_type``: tensor or tftensor; anything else is ndarray."""
    kind = data_type if data_type in ARRAY_KINDS else "ndarray"
    return reply_to_proto(Reply(np.asarray(array), list(names or ()), kind, {})).data


def array_to_rest_datadef(data_type: str, array: Any, names: Iterable[str] | None = ()) -> dict[str, Any]:
    """As ``array_to_grpc_datadef``, in JSON's form."""
    return part_to_json(array_to_grpc_datadef(data_type, array, names))


def extract_request_parts(request: pb.SeldonMessage) -> tuple[Any, dict[str, Any], pb.DefaultData, str]:
    """X, meta, ``data`` and the payload's field."""
    kind = request.WhichOneof("data_oneof") or ""
    return get_data_from_proto(request), get_meta_from_proto(request), request.data, kind


def extract_request_parts_json(request: Any) -> tuple[Any, dict[str, Any] | None, Any, str]:
    """X, meta, ``data`` (None for another payload) and the payload's field."""
    given = input_of_json(request)
    return given.features, given.meta, request.get("data"), next(kind for kind in PAYLOADS if kind in request)


def extract_feedback_request_parts(request: pb.Feedback) -> tuple[pb.DefaultData, Any, Any, float]:
    """The request's ``data``, X, the truth's X, and the reward."""
    return request.request.data, array_of_data(request.request.data), array_of_data(request.truth.data), request.reward


UTILS: dict[str, Any] = {
    one.__name__: one
    for one in (
        json_to_seldon_message,
        seldon_message_to_json,
        json_to_seldon_messages,
        seldon_messages_to_json,
        json_to_feedback,
        feedback_to_json,
        get_data_from_proto,
        get_meta_from_proto,
        grpc_datadef_to_array,
        array_to_grpc_datadef,
        array_to_rest_datadef,
        extract_request_parts,
        extract_request_parts_json,
        extract_feedback_request_parts,
    )
}
"""Name in ``seldon_core.utils`` → what stands for it."""
