"""Tensors of the Open Inference Protocol, version 2: datatypes, bounds, values and their binary form.

The binary form is the elements one after the other, little-endian, in C order; each element of BYTES has its length as
four bytes before it (the protocol's binary tensor data extension).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np

from slipway.contract.datatypes import BF16, BOOL, BYTES, DATATYPES
from slipway.contract.limits import MAX_BODY_BYTES
from slipway.serving.errors import ServingError
from slipway.serving.limits import MAX_VALUES

MAX_ELEMENTS = MAX_BODY_BYTES
"""Elements of one tensor, empty dimensions counted as one."""
MAX_RANK = 32
MAX_TENSORS = 1024
"""Tensors of one request or answer."""

DTYPES: Mapping[str, np.dtype[Any]] = {
    BOOL: np.dtype("?"),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    BF16: np.dtype("<f4"),  # numpy has none: its values are those of FP32 with 16 bits of zeros behind
}
_NAMES = {dtype: name for name, dtype in DTYPES.items() if name != BF16}
_LENGTH = struct.Struct("<I")

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Tensor:
    """``array`` has the tensor's shape and the datatype's dtype; BYTES is an object array of ``bytes``."""

    name: str
    datatype: str
    array: Array
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.array.shape)


def bad(info: str) -> ServingError:
    """The client's mistake, 400."""
    return ServingError(info)


def tensor_of(name: str, array: Array, parameters: Mapping[str, Any] | None = None) -> Tensor:
    """A tensor of whatever numpy holds; ServingError 500 for a dtype that the protocol has no datatype for."""
    parameters = parameters or {}
    if array.dtype.kind in "SUO":
        return Tensor(name, BYTES, _encoded(array, name), parameters)
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    if little.dtype not in _NAMES:
        raise ServingError(
            f"output {name}: numpy's {array.dtype} is none of the protocol's datatypes {', '.join(DATATYPES)}",
            status_code=500,
            reason="MICROSERVICE_INTERNAL_ERROR",
        )
    return Tensor(name, _NAMES[little.dtype], little, parameters)


def _encoded(array: Array, name: str) -> Array:
    items = [item.encode() if isinstance(item, str) else item for item in array.ravel().tolist()]
    if not all(isinstance(item, bytes) for item in items):
        kinds = ", ".join(sorted({type(item).__name__ for item in items}))
        raise ServingError(
            f"output {name}: elements of {kinds} have no datatype; numbers, str or bytes are expected",
            status_code=500,
            reason="MICROSERVICE_INTERNAL_ERROR",
        )
    return objects(items, array.shape)


def objects(items: Sequence[Any], shape: Sequence[int]) -> Array:
    """An object array of ``shape``; numpy itself would look into the items."""
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array.reshape(tuple(shape))


def count_of(shape: Sequence[int], what: str) -> int:
    """The number of elements; ServingError 400 for shapes that no tensor here has."""
    if len(shape) > MAX_RANK:
        raise bad(f"{what}: a shape has at most {MAX_RANK} dimensions, not {len(shape)}")
    if any(size < 0 for size in shape):
        raise bad(f"{what}: a shape has no negative sizes: {list(shape)}")
    room = math.prod(max(size, 1) for size in shape)
    if room > MAX_ELEMENTS:
        raise bad(f"{what}: shape {list(shape)} has more than {MAX_ELEMENTS} elements")
    return math.prod(shape)


def check_datatype(datatype: str, what: str) -> None:
    if datatype not in DATATYPES:
        raise bad(f"{what}: datatype {datatype[:40]!r} is not one of {', '.join(DATATYPES)}")


def array_of_raw(raw: bytes | memoryview, datatype: str, shape: Sequence[int], what: str) -> Array:
    """The array of a tensor's binary form, its own copy: hooks change their X in place.

    ServingError 400 where the bytes do not fill the shape.
    """
    check_datatype(datatype, what)
    count = count_of(shape, what)
    if datatype == BYTES:
        return objects(_texts_of_raw(raw, count, what), shape)
    size = 2 if datatype == BF16 else DTYPES[datatype].itemsize
    if len(raw) != count * size:
        raise bad(f"{what}: shape {list(shape)} of {datatype} is {count * size} bytes, found {len(raw)}")
    if datatype == BF16:
        bits = np.frombuffer(raw, dtype="<u2").astype("<u4") << 16
        whole: Array = bits.view("<f4").reshape(tuple(shape))
        return whole
    if datatype == BOOL:
        truths: Array = np.frombuffer(raw, dtype="u1") != 0
        return truths.reshape(tuple(shape))
    return np.frombuffer(raw, dtype=DTYPES[datatype]).reshape(tuple(shape)).copy()


def _texts_of_raw(raw: bytes | memoryview, count: int, what: str) -> list[bytes]:
    if count > MAX_VALUES:
        raise bad(f"{what}: {count} elements of BYTES, the limit is {MAX_VALUES}")
    if count * _LENGTH.size > len(raw):
        raise bad(f"{what}: {count} elements of BYTES have their lengths before them; {len(raw)} bytes are too few")
    items: list[bytes] = []
    place = 0
    for _ in range(count):
        if place + _LENGTH.size > len(raw):
            raise bad(f"{what}: element {len(items)} of BYTES has no length: the data ends at byte {len(raw)}")
        (length,) = _LENGTH.unpack_from(raw, place)
        place += _LENGTH.size
        if length > len(raw) - place:
            raise bad(f"{what}: element {len(items)} of BYTES is {length} bytes, {len(raw) - place} are left")
        items.append(bytes(raw[place : place + length]))
        place += length
    if place != len(raw):
        raise bad(f"{what}: {len(raw) - place} bytes are left behind {count} elements of BYTES")
    return items


def raw_of(tensor: Tensor) -> bytes:
    """The tensor's binary form."""
    if tensor.datatype == BYTES:
        return b"".join(_LENGTH.pack(len(item)) + item for item in tensor.array.ravel().tolist())
    if tensor.datatype == BF16:
        return (np.ascontiguousarray(tensor.array).view("<u4") >> 16).astype("<u2").tobytes()
    return np.ascontiguousarray(tensor.array).tobytes()


def array_of_values(values: Sequence[Any], datatype: str, shape: Sequence[int], what: str) -> Array:
    """The array of a flat list of Python values; ServingError 400 where one does not fit the datatype."""
    check_datatype(datatype, what)
    if (count := count_of(shape, what)) != len(values):
        raise bad(f"{what}: shape {list(shape)} wants {count} values, found {len(values)}")
    kinds = set(map(type, values))
    if datatype == BYTES:
        if count > MAX_VALUES or not kinds <= {str, bytes}:
            raise bad(f"{what}: at most {MAX_VALUES} strings are expected for BYTES, found {_named(kinds)}")
        return objects([item.encode() if isinstance(item, str) else item for item in values], shape)
    dtype = DTYPES[datatype]
    wanted: set[type] = {bool} if datatype == BOOL else {int} if dtype.kind in "iu" else {int, float}
    if not kinds <= wanted:
        raise bad(f"{what}: {_named(wanted)} is expected for {datatype}, found {_named(kinds)}")
    try:
        with np.errstate(over="raise"):
            array = np.array(values, dtype="<f8").astype(dtype) if dtype.kind == "f" else np.array(values, dtype=dtype)
    except (OverflowError, FloatingPointError) as exc:
        raise bad(f"{what}: a value does not fit {datatype}: {exc}") from exc
    return (_rounded(array) if datatype == BF16 else array).reshape(tuple(shape))


def _named(kinds: set[type]) -> str:
    return " or ".join(sorted(kind.__name__ for kind in kinds)) or "nothing"


def _rounded(array: Array) -> Array:
    """FP32 numbers with the precision of BF16: to the nearest, ties to even; NaN stays NaN."""
    bits = array.view("<u4")
    up = ((bits >> 16) & 1) + np.uint32(0x7FFF)
    rounded = np.where(np.isnan(array), bits | np.uint32(0x400000), bits + up) & np.uint32(0xFFFF0000)
    return rounded.astype("<u4").view("<f4")


def flattened(data: Any, shape: Sequence[int], what: str) -> list[Any]:
    """The values of a JSON tensor, which is flat or nested as its shape says (or a lone value for one element).

    Raises ServingError 400 for nesting that is not the shape's.
    """
    if not isinstance(data, list):
        raise bad(f"{what}: data is {type(data).__name__}, not a list")
    values, sizes = data, [len(data)]
    while values and isinstance(values[0], list):
        lengths = set(map(len, values)) if set(map(type, values)) == {list} else set()
        if len(lengths) != 1:
            raise bad(f"{what}: the rows of its data differ in length")
        sizes.append(lengths.pop())
        values = list(chain.from_iterable(values))
    if len(sizes) > 1 and sizes != list(shape):
        raise bad(f"{what}: shape is {list(shape)}, its data nests as {sizes}")
    return values
