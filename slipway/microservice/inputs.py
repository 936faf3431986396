"""A SeldonMessage, in either form, as the arguments of a component's hook (the contract's section 4.5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf import json_format

from slipway.contract.protos import prediction_pb2 as pb
from slipway.contract.protos import tensor_pb2
from slipway.microservice.tensors import check_empty, list_to_array, tensor_to_array, tftensor_to_array
from slipway.serving.errors import ServingError
from slipway.serving.messages import MISFITS, decode_bin_data, list_to_json, part_to_json, value_to_json

MAX_METRICS = 1000
"""Metrics in the meta of one message: those of every node that it has passed."""
ARRAY_KINDS = ("tensor", "ndarray", "tftensor")


@dataclass(frozen=True)
class Input:
    """What a hook is called with, and what its reply takes over from the request."""

    features: Any
    names: list[Any]
    meta: dict[str, Any] | None
    array_kind: str = ""
    """Form of the request's ``data``: one of ARRAY_KINDS; empty when it used another payload or none."""
    default_names: bool = True
    """Whether the columns of an array result get names (``t:0``, …) where the component has none."""

    @property
    def puid(self) -> str:
        return str((self.meta or {}).get("puid") or "")


def input_of_json(body: Any) -> Input:
    """Integers stay integers, and the first of data, jsonData, strData, binData counts.

    Raises ServingError 400. ``binData`` may be bytes already, as the parser of multipart bodies gives it.
    """
    if not isinstance(body, Mapping):
        raise ServingError(f"a SeldonMessage is an object, not {type(body).__name__}")
    meta = _meta_of_json(body.get("meta"))
    if "data" in body:
        return _input_of_data(body["data"], meta)
    if "jsonData" in body:
        return Input(body["jsonData"], [], meta)
    if "strData" in body:
        return Input(body["strData"], [], meta)
    if "binData" in body:
        raw = body["binData"]
        return Input(raw if isinstance(raw, bytes) else decode_bin_data(raw), [], meta)
    found = ", ".join(sorted(map(str, body))) or "nothing"
    raise ServingError(f"a SeldonMessage has data, jsonData, strData or binData; found {found}"[:500])


def _meta_of_json(meta: Any) -> dict[str, Any] | None:
    if meta is None:
        return None
    if not isinstance(meta, dict):
        raise ServingError(f"meta is {type(meta).__name__}, not an object")
    for key, kind in (("tags", dict), ("requestPath", dict), ("routing", dict), ("metrics", list)):
        if not isinstance(meta.get(key, kind()), kind):
            raise ServingError(
                f"meta.{key} is {type(meta[key]).__name__}, not {'a list' if kind is list else 'an object'}"
            )
    if not all(isinstance(image, str) for image in meta.get("requestPath", {}).values()):
        raise ServingError("meta.requestPath has a value that is not a string")
    _check_metrics(meta.get("metrics", []))
    return meta


def _check_metrics(metrics: list[Any]) -> None:
    if len(metrics) > MAX_METRICS:
        raise _too_many_metrics()
    for place, metric in enumerate(metrics):
        try:
            json_format.ParseDict(metric, pb.Metric())
        except MISFITS as exc:
            raise ServingError(f"meta.metrics[{place}] is not a metric: {exc}") from exc


def _too_many_metrics() -> ServingError:
    return ServingError(f"meta.metrics has more than {MAX_METRICS} metrics")


def _input_of_data(data: Any, meta: dict[str, Any] | None) -> Input:
    if not isinstance(data, Mapping):
        raise ServingError(f"data is {type(data).__name__}, not an object")
    names = data.get("names") or []
    if not isinstance(names, list):
        raise ServingError(f"data.names is {type(names).__name__}, not a list")
    try:
        if "tensor" in data:
            return Input(_array_of_tensor(data["tensor"]), names, meta, "tensor")
        if "ndarray" in data:
            return Input(_array_of_list(data["ndarray"], "data.ndarray"), names, meta, "ndarray")
        if "tftensor" in data:
            proto = json_format.ParseDict(data["tftensor"], tensor_pb2.TensorProto())
            return Input(tftensor_to_array(proto), names, meta, "tftensor")
    except (ValueError, TypeError, OverflowError, AttributeError, json_format.Error) as exc:
        raise ServingError(f"data does not make an array: {exc}") from exc
    return Input(np.array([]), names, meta, "ndarray")


def _array_of_tensor(tensor: Any) -> np.ndarray[Any, Any]:
    if not isinstance(tensor, Mapping) or not {"shape", "values"} <= tensor.keys():
        raise ServingError("data.tensor has shape and values")
    if not isinstance(tensor["shape"], list) or not all(type(size) is int for size in tensor["shape"]):
        raise ServingError("data.tensor.shape is a list of integers")
    array = _array_of_list(tensor["values"], "data.tensor.values").reshape(tensor["shape"])
    check_empty(array.shape)
    return array


def _array_of_list(items: Any, what: str) -> np.ndarray[Any, Any]:
    if not isinstance(items, list):
        raise ServingError(f"{what} is {type(items).__name__}, not a list")
    return list_to_array(items, what)


def input_of_proto(message: pb.SeldonMessage) -> Input:
    """Numbers are floats, ``meta`` is never None; raises ServingError 400."""
    if len(message.meta.metrics) > MAX_METRICS:
        raise _too_many_metrics()
    meta = part_to_json(message.meta) if message.HasField("meta") else {}
    kind = message.WhichOneof("data_oneof")
    if kind == "data":
        return Input(array_of_data(message.data), list(message.data.names), meta, _kind_of_data(message.data))
    if kind == "jsonData":
        return Input(value_to_json(message.jsonData), [], meta)
    if kind in ("strData", "binData", "customData"):
        return Input(getattr(message, kind), [], meta)
    raise ServingError("the SeldonMessage has no payload: data, jsonData, strData, binData or customData")


def _kind_of_data(data: pb.DefaultData) -> str:
    return data.WhichOneof("data_oneof") or "ndarray"


def array_of_data(data: pb.DefaultData) -> np.ndarray[Any, Any]:
    """The array of a DefaultData, empty where it has none; ServingError 400 if it does not make one."""
    kind = data.WhichOneof("data_oneof")
    if kind == "tensor":
        return tensor_to_array(data.tensor)
    if kind == "tftensor":
        return tftensor_to_array(data.tftensor)
    if kind == "ndarray":
        try:
            return list_to_array(list_to_json(data.ndarray), "data.ndarray")
        except ValueError as exc:
            raise ServingError(f"data.ndarray does not make an array: {exc}") from exc
    return np.array([])
