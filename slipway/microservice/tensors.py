"""Arrays on the wire: the contract's Tensor and TensorFlow's TensorProto, to numpy and back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np

from slipway.contract.limits import MAX_BODY_BYTES
from slipway.contract.protos import prediction_pb2 as pb
from slipway.contract.protos import tensor_pb2
from slipway.serving.errors import ServingError
from slipway.serving.limits import MAX_VALUES
from slipway.serving.messages import varint

MAX_ELEMENTS = MAX_BODY_BYTES
"""Elements of one array: a TensorProto may announce a large shape and carry a single value."""

MAX_DIMENSIONS = 32
"""Sizes of one shape; numpy has no more than 64."""

MAX_EMPTY_SIZE = 8192
"""Sizes of a shape without elements, multiplied without its zeros: it takes no values, and a reply names its columns."""

MAX_FILLED = MAX_VALUES
"""Elements that a TensorProto's last value is repeated for: a body of some bytes makes them all."""

MAX_TEXT_ARRAY_BYTES = 4 * MAX_BODY_BYTES
"""An array of texts gives each of them the room of the longest, four bytes a character."""

FEW_VALUES = 64
"""So many numbers are read one by one in less time than a copy of their message's bytes takes."""

NUMBER_CHARS = 32
"""Room of a number among texts, as numpy writes it."""

# DataType → numpy type and the field with its values, from tensorflow/core/framework (types.proto, tensor.proto).
_TYPES: dict[int, tuple[str, str]] = {
    tensor_pb2.DT_FLOAT: ("<f4", "float_val"),
    tensor_pb2.DT_DOUBLE: ("<f8", "double_val"),
    tensor_pb2.DT_INT32: ("<i4", "int_val"),
    tensor_pb2.DT_UINT8: ("|u1", "int_val"),
    tensor_pb2.DT_INT16: ("<i2", "int_val"),
    tensor_pb2.DT_INT8: ("|i1", "int_val"),
    tensor_pb2.DT_UINT16: ("<u2", "int_val"),
    tensor_pb2.DT_INT64: ("<i8", "int64_val"),
    tensor_pb2.DT_BOOL: ("|b1", "bool_val"),
    tensor_pb2.DT_UINT32: ("<u4", "uint32_val"),
    tensor_pb2.DT_UINT64: ("<u8", "uint64_val"),
    tensor_pb2.DT_HALF: ("<f2", "half_val"),
    tensor_pb2.DT_STRING: ("|O", "string_val"),
}
_DATA_TYPES = {np.dtype(code): data_type for data_type, (code, _) in _TYPES.items() if code != "|O"}


def list_to_array(items: list[Any], what: str) -> np.ndarray[Any, Any]:
    """``np.array(items)``. ServingError 400 for texts whose padding would take more than MAX_TEXT_ARRAY_BYTES."""
    values, kinds = items, set(map(type, items))
    while kinds == {list}:  # lists beside values are numpy's to refuse
        values = list(chain.from_iterable(values))
        kinds = set(map(type, values))
    if str in kinds:
        longest = max(len(value) for value in values if isinstance(value, str))
        size_bytes = 4 * len(values) * max(longest, NUMBER_CHARS if len(kinds) > 1 else 1)
        if size_bytes > MAX_TEXT_ARRAY_BYTES:
            raise ServingError(
                f"{what}: {len(values)} texts as long as the longest ({longest} characters) take {size_bytes} bytes; "
                f"the limit is {MAX_TEXT_ARRAY_BYTES}"
            )
    return np.array(items)


def tensor_to_array(tensor: pb.Tensor) -> np.ndarray[Any, Any]:
    """A float64 array of the tensor's shape, which hooks may change; ServingError 400 if the values do not fill it."""
    count, found = _count(tensor.shape), len(tensor.values)
    if count != found:
        raise ServingError(f"data.tensor: shape {list(tensor.shape)} wants {count} values, found {found}")
    if count <= FEW_VALUES:
        return np.fromiter(tensor.values, np.float64, count).reshape(tuple(tensor.shape))
    bare = pb.Tensor()
    bare.CopyFrom(tensor)
    bare.DiscardUnknownFields()
    raw = bare.SerializeToString()  # the packed values are the last bytes: one copy instead of one call per number
    values = np.frombuffer(raw, dtype="<f8", count=count, offset=len(raw) - 8 * count)
    return values.reshape(tuple(tensor.shape)).copy()


def fill_tensor(tensor: pb.Tensor, array: np.ndarray[Any, Any]) -> None:
    """Any numeric array as doubles into an empty Tensor."""
    tensor.shape.extend(array.shape)
    packed = np.ascontiguousarray(array, dtype="<f8").tobytes()
    if packed:
        tensor.MergeFromString(b"\x12" + varint(len(packed)) + packed)  # field 2, length-delimited


def tftensor_to_array(tensor: tensor_pb2.TensorProto) -> np.ndarray[Any, Any]:
    """The array of a TensorProto: raw content, or the typed list, whose last value repeats to fill the shape.

    Raises ServingError 400 for types that numpy does not have and for content that does not fill the shape.
    """
    if tensor.dtype not in _TYPES:
        raise ServingError(f"data.tftensor: dtype {tensor.dtype} is not supported")
    code, field = _TYPES[tensor.dtype]
    shape = [dim.size for dim in tensor.tensor_shape.dim[: MAX_DIMENSIONS + 1]]
    count = _count(shape)
    if tensor.tensor_content and code != "|O":
        itemsize = np.dtype(code).itemsize
        if len(tensor.tensor_content) != count * itemsize:
            found = len(tensor.tensor_content)
            raise ServingError(f"data.tftensor: shape {shape} wants {count * itemsize} bytes, found {found}")
        return np.frombuffer(tensor.tensor_content, dtype=code).reshape(shape).copy()
    values = _typed_values(list(getattr(tensor, field)), code)
    if len(values) > count or (count and not len(values)):
        raise ServingError(f"data.tftensor: shape {shape} wants {count} values, found {len(values)}")
    if len(values) < count:
        if count > MAX_FILLED:
            raise ServingError(
                f"data.tftensor: {len(values)} values for {count} elements; at most {MAX_FILLED} are filled up"
            )
        values = np.concatenate([values, np.full(count - len(values), values[-1], dtype=values.dtype)])
    return values.reshape(shape)


def _typed_values(values: list[Any], code: str) -> np.ndarray[Any, Any]:
    try:
        if code == "<f2":  # the bits of the half, in an integer
            return np.array(values, dtype="<u2").view("<f2")
        return np.array(values, dtype=code)
    except (OverflowError, ValueError) as exc:
        raise ServingError(f"data.tftensor: a value does not fit its dtype: {exc}") from exc


def array_to_tftensor(array: np.ndarray[Any, Any]) -> tensor_pb2.TensorProto:
    """A numeric array as a TensorProto with raw content; types TensorFlow does not have become double."""
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    if little.dtype not in _DATA_TYPES:
        little = np.ascontiguousarray(array, dtype="<f8")
    shape = tensor_pb2.TensorShapeProto(dim=[tensor_pb2.TensorShapeProto.Dim(size=size) for size in array.shape])
    data_type = _DATA_TYPES[little.dtype]
    return tensor_pb2.TensorProto(dtype=data_type, tensor_shape=shape, tensor_content=little.tobytes())  # type: ignore[arg-type]


def _count(shape: Sequence[int]) -> int:
    if len(shape) > MAX_DIMENSIONS:
        raise ServingError(f"a shape has at most {MAX_DIMENSIONS} sizes")
    if any(size < 0 for size in shape):
        raise ServingError(f"a shape has no negative sizes: {list(shape)}")
    check_empty(shape)
    count = math.prod(shape)
    if count > MAX_ELEMENTS:
        raise ServingError(f"shape {list(shape)} has {count} elements, the limit is {MAX_ELEMENTS}")
    return count


def check_empty(shape: Sequence[int]) -> None:
    """ServingError 400 for a shape without elements that has large sizes besides: any body would do for it."""
    if 0 in shape and math.prod(max(size, 1) for size in shape) > MAX_EMPTY_SIZE:
        raise ServingError(f"shape {list(shape)} has no elements, and sizes of more than {MAX_EMPTY_SIZE} besides")
