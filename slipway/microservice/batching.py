"""Which requests one call of ``predict`` can answer, and how its result is theirs again. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from slipway.microservice.inputs import Input


class NotRowsError(Exception):
    """A result that has not one row for each row of X."""


class OwnMetaError(Exception):
    """A result with tags or metrics of its own: of several requests' call, nobody knows whose they are."""


def joinable(inputs: Sequence[Input | None], *, takes_meta: bool) -> list[list[int]]:
    """Indices of ``inputs`` in groups that can be one X; what is None is in none.

    Together go numbers of one dtype with rows of one shape, equal names and, where the hook gets it, equal meta.
    """
    groups: list[list[int]] = []
    for index, one in enumerate(inputs):
        if one is None:
            continue
        found = next((group for group in groups if _alike(_first(inputs, group), one, takes_meta=takes_meta)), None)
        if found is None:
            groups.append([index])
        else:
            found.append(index)
    return groups


def _first(inputs: Sequence[Input | None], group: list[int]) -> Input:
    first = inputs[group[0]]
    assert first is not None  # noqa: S101 - groups are made of what is there
    return first


def _alike(first: Input, other: Input, *, takes_meta: bool) -> bool:
    a, b = first.features, other.features
    return (
        _is_rows(a)
        and _is_rows(b)
        and a.dtype == b.dtype
        and a.shape[1:] == b.shape[1:]
        and first.names == other.names
        and (not takes_meta or first.meta == other.meta)
    )


def _is_rows(features: Any) -> bool:
    return isinstance(features, np.ndarray) and features.ndim > 1 and features.dtype.kind in "biuf"


def join(inputs: Sequence[Input]) -> np.ndarray[Any, Any]:
    """X of them all, one below the other."""
    return np.concatenate([one.features for one in inputs])


def split(data: Any, inputs: Sequence[Input]) -> list[Any]:
    """The rows of each request out of the result for all. Raises NotRowsError."""
    counts = [len(one.features) for one in inputs]
    if not isinstance(data, (np.ndarray, list)) or np.ndim(data) == 0 or len(data) != sum(counts):
        what = f"{len(data)} rows" if isinstance(data, (np.ndarray, list)) and np.ndim(data) else type(data).__name__
        raise NotRowsError(f"predict gave {what} for {sum(counts)} rows of X")
    return [data[begin:end] for begin, end in pairwise(accumulate(counts, initial=0))]
