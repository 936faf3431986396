"""Inputs and outputs of an ONNX graph: their types, and what of a request fits them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from slipway.contract.datatypes import BOOL, BYTES
from slipway.servers.errors import mismatch

TYPES = {
    "tensor(bool)": (BOOL, "?"),
    "tensor(uint8)": ("UINT8", "u1"),
    "tensor(uint16)": ("UINT16", "u2"),
    "tensor(uint32)": ("UINT32", "u4"),
    "tensor(uint64)": ("UINT64", "u8"),
    "tensor(int8)": ("INT8", "i1"),
    "tensor(int16)": ("INT16", "i2"),
    "tensor(int32)": ("INT32", "i4"),
    "tensor(int64)": ("INT64", "i8"),
    "tensor(float16)": ("FP16", "f2"),
    "tensor(float)": ("FP32", "f4"),
    "tensor(double)": ("FP64", "f8"),
    "tensor(string)": (BYTES, "O"),
}
"""ONNX Runtime's name of a type → the protocol's datatype and numpy's; others (sequences, maps) have none."""
OPEN = -1


@dataclass(frozen=True)
class GraphValue:
    """``shape`` has OPEN where the graph leaves a size open; None: it says nothing of the shape."""

    name: str
    type: str
    shape: tuple[int, ...] | None

    @property
    def column_shape(self) -> tuple[int, ...]:
        """Of one column of n rows, as this input takes it: ``[n]`` or ``[n, 1]``."""
        return (-1,) if self.shape is not None and len(self.shape) == 1 else (-1, 1)

    def to_json(self) -> dict[str, Any]:
        """As metadata: a value that is no tensor (a sequence of maps) travels as JSON, in one element of BYTES."""
        datatype = TYPES[self.type][0] if self.type in TYPES else BYTES
        shape = list(self.shape or ()) if self.type in TYPES else [1]
        return {"name": self.name, "datatype": datatype, "shape": shape}


def values_of(found: Iterable[Any]) -> tuple[GraphValue, ...]:
    """From ``InferenceSession.get_inputs()`` or ``get_outputs()``."""
    return tuple(GraphValue(one.name, one.type, _shape(one.shape)) for one in found)


def _shape(sizes: Any) -> tuple[int, ...] | None:
    return None if sizes is None else tuple(size if isinstance(size, int) else OPEN for size in sizes)


def input_array(value: GraphValue, given: Any) -> Any:
    """``given`` in the input's type; ServingError 400 for another shape, or numbers that the type cannot hold."""
    if value.type not in TYPES:
        raise mismatch(f"input {value.name!r} is {value.type}, which no request carries")
    array = _array(value, given)
    if value.shape is not None and not _fits(array.shape, value.shape):
        sizes = ", ".join("n" if size == OPEN else str(size) for size in value.shape)
        raise mismatch(f"input {value.name!r} has shape [{sizes}], found {list(array.shape)}")
    return _cast(value, array)


def _array(value: GraphValue, given: Any) -> np.ndarray[Any, Any]:
    if isinstance(given, np.ndarray):
        return given
    if not isinstance(given, (list, int, float, bool)):
        kind = type(given).__name__
        raise mismatch(f"input {value.name!r} is {value.type}: numbers or lists are expected, found {kind}")
    try:
        return np.asarray(given)
    except ValueError as exc:
        raise mismatch(f"input {value.name!r}: rows of different lengths: {exc}") from exc


def _fits(found: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    return len(found) == len(wanted) and all(size in (OPEN, here) for size, here in zip(wanted, found, strict=True))


def _cast(value: GraphValue, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """JSON has one kind of number, so integers may come as floats; they must be whole and within the type."""
    dtype = np.dtype(TYPES[value.type][1])
    if dtype.kind == "O":
        return _texts(value, array)
    if array.dtype == dtype:
        return array
    if array.dtype.kind not in "biuf" or (dtype.kind == "b") != (array.dtype.kind == "b"):
        raise mismatch(f"input {value.name!r} is {value.type}, found {array.dtype}")
    with np.errstate(all="ignore"):
        cast = array.astype(dtype)
    if dtype.kind in "iu" and not np.array_equal(cast.astype(np.float64), array.astype(np.float64)):
        raise mismatch(f"input {value.name!r} is {value.type}: some numbers are not whole, or too large for it")
    return cast


def _texts(value: GraphValue, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    items = [item.decode(errors="replace") if isinstance(item, bytes) else item for item in array.ravel().tolist()]
    if not all(isinstance(item, str) for item in items):
        raise mismatch(f"input {value.name!r} takes texts, found {array.dtype}")
    return np.array(items, dtype=object).reshape(array.shape)


def output_result(name: str, value: Any) -> Any:
    """An array as it is; a sequence of maps (scikit-learn's converter makes them) as an object that JSON can carry."""
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return {name: [_plain(item) for item in value]}


def _plain(item: Any) -> Any:
    if isinstance(item, dict):
        return {str(key): _plain(part) for key, part in item.items()}
    return item.tolist() if hasattr(item, "tolist") else item
