"""What a hook returned, as a SeldonMessage in either form (the contract's section 4.5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from google.protobuf import any_pb2

from slipway.contract.protos import prediction_pb2 as pb
from slipway.microservice.inputs import Input
from slipway.microservice.tensors import array_to_tftensor, fill_tensor
from slipway.serving.errors import INTERNAL, ServingError
from slipway.serving.messages import MISFITS, encode_bin_data, fill_list, fill_meta, fill_value, part_to_json, varint

BIN_DATA_TAG = varint(pb.SeldonMessage.BINDATA_FIELD_NUMBER << 3 | 2)
"""Protobuf's wire form: the field's number and the type of what has a length."""
MAX_DEFAULT_NAMES = 1_000_000
"""Columns of a result that get names of ours: each takes ten times the room of a number on the wire."""
NUMERIC_KINDS = "iufcm"
"""``dtype.kind`` of what is ``np.number``, which takes as long to ask as a small tensor to convert."""


@dataclass(frozen=True)
class Reply:
    """A hook's result with its meta: what both wires render."""

    data: Any
    names: Sequence[Any]
    array_kind: str
    """Form of an array result, see ``array_kind_of``; empty for other results."""
    meta: dict[str, Any]


def array_kind_of(data: Any, request: Input | None) -> str:
    """Numeric arrays answer in the request's form (``tensor`` if it used none), others as ``ndarray``."""
    if not isinstance(data, (np.ndarray, list)):
        return ""
    if as_array(data).dtype.kind not in NUMERIC_KINDS:
        return "ndarray"
    return (request.array_kind if request else "") or "tensor"


def as_array(data: Any) -> np.ndarray[Any, Any]:
    """A hook's list or array as an array; ServingError 500 where rows differ in length."""
    try:
        return np.asarray(data)
    except ValueError as exc:
        raise _unusable(f"the component returned a list that makes no array: {exc}") from exc


def default_names(data: Any) -> list[str]:
    """``t:0, t:1, …`` by the second axis; none for a vector, or for more than MAX_DEFAULT_NAMES columns."""
    shape = np.shape(as_array(data))
    has_names = len(shape) > 1 and shape[1] <= MAX_DEFAULT_NAMES
    return [f"t:{index}" for index in range(shape[1])] if has_names else []


def reply_to_json(reply: Reply) -> dict[str, Any]:
    """The JSON form; ServingError 400 for a type that no payload carries."""
    data = reply.data
    if isinstance(data, dict):
        return {"jsonData": data, "meta": reply.meta}
    if isinstance(data, (bytes, bytearray)):
        return {"binData": encode_bin_data(data), "meta": reply.meta}
    if isinstance(data, str):
        return {"strData": data, "meta": reply.meta}
    if not reply.array_kind:
        raise _wrong_type(data)
    return {
        "data": {reply.array_kind: _array_to_json(data, reply.array_kind), "names": reply.names},
        "meta": reply.meta,
    }


def _array_to_json(data: Any, kind: str) -> Any:
    if kind == "ndarray":
        return data if isinstance(data, list) else data.tolist()
    array = as_array(data)
    if kind == "tensor":
        return {"values": array.ravel().tolist(), "shape": array.shape}
    return part_to_json(array_to_tftensor(array))


def reply_to_proto(reply: Reply) -> pb.SeldonMessage:
    """The protobuf form; ServingError 400 for a type that no payload carries, 500 for values that do not fit."""
    data, message = reply.data, pb.SeldonMessage()
    try:
        message.meta.SetInParent()
        fill_meta(message.meta, reply.meta)
        if isinstance(data, dict):
            fill_value(message.jsonData, data)
        elif isinstance(data, (bytes, bytearray)):
            message.binData = bytes(data)
        elif isinstance(data, str):
            message.strData = data
        elif isinstance(data, any_pb2.Any):
            message.customData.CopyFrom(data)
        elif reply.array_kind:
            _fill_array(message.data, reply)
    except (*MISFITS, ServingError) as exc:
        raise _unusable(f"the component's reply does not fit a SeldonMessage: {exc}") from exc
    if message.WhichOneof("data_oneof") is None:
        raise _wrong_type(data)
    return message


def reply_to_wire(reply: Reply) -> bytes:
    """``reply_to_proto``'s message as bytes, raising as it does; bytes of the component are copied once, not three times.

    ``binData`` is the message's last field, so that it is written behind the others: its tag, its length, the bytes.
    """
    if not isinstance(reply.data, (bytes, bytearray)):
        return reply_to_proto(reply).SerializeToString()
    head = reply_to_proto(replace(reply, data=b""))
    head.ClearField("binData")
    return b"".join((head.SerializeToString(), BIN_DATA_TAG, varint(len(reply.data)), reply.data))


def _fill_array(data: pb.DefaultData, reply: Reply) -> None:
    data.names.extend(map(str, reply.names))
    array = as_array(reply.data)
    if reply.array_kind == "tensor":
        fill_tensor(data.tensor, array)
    elif reply.array_kind == "tftensor":
        data.tftensor.CopyFrom(array_to_tftensor(array))
    else:
        data.ndarray.SetInParent()
        fill_list(data.ndarray, array.tolist())


def is_exact_in_proto(reply: Reply) -> bool:
    """Whether the protobuf form says exactly what the JSON form does: it knows doubles only, and single-float metrics."""
    if reply.meta.get("metrics") or not _has_floats_only(reply.meta.get("tags", {})):
        return False
    if isinstance(reply.data, (bytes, bytearray, str)):
        return True
    return reply.array_kind == "tensor" and as_array(reply.data).dtype.kind == "f"


def _has_floats_only(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_has_floats_only, value.values()))
    if isinstance(value, (list, tuple)):
        return all(map(_has_floats_only, value))
    return value is None or isinstance(value, (bool, float, str))


def _wrong_type(data: Any) -> ServingError:
    return ServingError(
        f"the component returned {type(data).__name__}: a list, a numpy array, dict, str or bytes is expected"
    )


def _unusable(info: str) -> ServingError:
    return ServingError(info, status_code=500, reason=INTERNAL)
