"""Rows and columns as pandas' DataFrames in the types of an MLflow signature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from slipway.servers.errors import mismatch
from slipway.servers.rows import Array, in_order


def frame_of(columns: Mapping[str, Any], schema: Any = None) -> pd.DataFrame:
    """Each entry a column. Raises ServingError 400 where they are no columns of one length."""
    try:
        frame = pd.DataFrame({str(name): column for name, column in columns.items()})
    except (ValueError, TypeError) as exc:
        raise mismatch(f"columns of one length are expected: {exc}") from exc
    return _typed(frame, schema)


def typed_frame(rows: Array, names: Sequence[Any], wanted: Sequence[str], schema: Any = None) -> pd.DataFrame:
    """Rows with the request's names, or with ``wanted`` (the signature's) where the request has none of these.

    Raises ServingError 400 where the rows do not have so many columns.
    """
    if rows.ndim == 1 and len(wanted) == 1:
        rows = rows[:, np.newaxis]
    if rows.ndim != 2:
        raise mismatch(f"rows of features are expected (shape [n, features]), found {list(rows.shape)}")
    own = [str(name) for name in names]
    if wanted and not set(wanted) <= set(own):
        if rows.shape[1] != len(wanted):
            raise mismatch(f"rows of {len(wanted)} features are expected ({', '.join(wanted)}), found {rows.shape[1]}")
        own = list(wanted)
    elif wanted:
        rows, own = in_order(rows, own, wanted), list(wanted)
    if own and len(own) != rows.shape[1]:
        raise mismatch(f"{len(own)} names for {rows.shape[1]} columns")
    return _typed(pd.DataFrame(rows, columns=own or None).infer_objects(), schema)


def _typed(frame: pd.DataFrame, schema: Any) -> pd.DataFrame:
    """Numbers in the signature's types: JSON says 1 where 1.0 is meant, and protobuf 1.0 where 1 is.

    What would change a value stays as it is, for MLflow to refuse.
    """
    if schema is None or schema.is_tensor_spec() or not schema.has_input_names():
        return frame
    types = {spec.name: spec.type for spec in schema.inputs if hasattr(spec.type, "to_numpy")}
    return frame.assign(**{name: _column(frame[name], types[name].to_numpy()) for name in frame if name in types})


def _column(column: Any, dtype: Any) -> Any:
    dtype = np.dtype(dtype)
    if column.dtype == dtype or column.dtype.kind not in "biuf" or dtype.kind not in "iuf":
        return column
    if dtype.kind == "f":
        return column.astype(dtype)
    is_whole = column.notna().all() and (column == np.floor(column)).all() and np.isfinite(column).all()
    return column.astype(dtype) if is_whole else column
