"""What came with a request as rows of features, for models that take a table of numbers or texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from slipway.servers.errors import mismatch

Array = np.ndarray[Any, Any]


def rows_of(X: Any) -> Array:
    """``X`` as an array. Raises ServingError 400 for bytes, texts and objects: no rows."""
    if isinstance(X, np.ndarray):
        return X
    if isinstance(X, list):
        try:
            return np.asarray(X)
        except ValueError as exc:
            raise mismatch(f"the rows have different lengths: {exc}") from exc
    raise mismatch(f'rows of features are expected, as in {{"data": {{"ndarray": [[5.1, 3.5]]}}}}, found {_word(X)}')


def check_features(rows: Array, wanted: int | None) -> None:
    """Raises ServingError 400 where each row must have ``wanted`` features and has not, or there is no row."""
    if wanted is None:
        return
    if rows.ndim != 2 or rows.shape[1] != wanted or not len(rows):
        raise mismatch(f"rows of {wanted} features are expected (shape [n, {wanted}]), found {list(rows.shape)}")


def columns_of(tensors: Mapping[str, Array]) -> tuple[Array, list[str]]:
    """One tensor as it is; several of one column each side by side, with their names.

    Raises ServingError 400 for several that are not columns of one length.
    """
    if len(tensors) == 1:
        return next(iter(tensors.values())), []
    columns = [as_column(name, array) for name, array in tensors.items()]
    if len({len(column) for column in columns}) != 1:
        lengths = ", ".join(f"{name} {len(column)}" for name, column in zip(tensors, columns, strict=True))
        raise mismatch(f"inputs of different lengths ({lengths[:200]}): each is a column of the same rows")
    is_number = all(column.dtype.kind in "biuf" for column in columns)
    stacked = np.column_stack(columns if is_number else [column.astype(object) for column in columns])
    return stacked, list(tensors)


def as_column(name: str, array: Array) -> Array:
    """``[n]`` or ``[n, 1]`` as ``[n]``; ServingError 400 for another shape."""
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise mismatch(f"input {name[:80]!r} has shape {list(array.shape)}: of several inputs each is one column")
    return array


def in_order(rows: Array, names: Sequence[Any], wanted: Sequence[str]) -> Array:
    """The columns ``wanted`` by name where ``names`` has them all; else the rows as they are, by position."""
    places = {str(name): index for index, name in enumerate(names)}
    if rows.ndim != 2 or len(places) != rows.shape[1] or not set(wanted) <= places.keys():
        return rows
    return rows[:, [places[name] for name in wanted]]


def _word(X: Any) -> str:
    return {"dict": "an object", "bytes": "bytes", "str": "a text", "NoneType": "nothing"}.get(
        type(X).__name__, type(X).__name__
    )
