"""Any tensor, request and answer of the Open Inference Protocol, for property tests."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from slipway.contract.datatypes import BF16, BYTES, DATATYPES
from slipway.serving.v2_messages import InferRequest, InferResponse
from slipway.serving.v2_tensors import DTYPES, Tensor, array_of_raw, objects

SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3)
NAMES = st.text(st.characters(categories=("L", "N")), min_size=1, max_size=8)
SCALARS = st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=8)
PARAMETERS = st.dictionaries(NAMES.map(lambda name: f"p{name}"), SCALARS, max_size=3)


@st.composite
def tensors(draw: Any, datatypes: tuple[str, ...] = DATATYPES) -> Tensor:
    datatype, shape = draw(st.sampled_from(datatypes)), draw(SHAPES)
    count = math.prod(shape)
    if datatype == BYTES:
        items = draw(st.lists(st.binary(max_size=6), min_size=count, max_size=count))
        return Tensor(draw(NAMES), datatype, objects(items, shape), draw(PARAMETERS))
    size = 2 if datatype == BF16 else DTYPES[datatype].itemsize
    raw = draw(st.binary(min_size=count * size, max_size=count * size))
    if datatype == "BOOL":
        raw = bytes(byte & 1 for byte in raw)
    return Tensor(draw(NAMES), datatype, array_of_raw(raw, datatype, shape, "x"), draw(PARAMETERS))


REQUESTS = st.builds(
    InferRequest,
    inputs=st.lists(tensors(), min_size=1, max_size=3).map(tuple),
    id=st.text(max_size=6),
    parameters=PARAMETERS,
)
RESPONSES = st.builds(
    InferResponse,
    outputs=st.lists(tensors(), max_size=3).map(tuple),
    id=st.text(max_size=6),
    parameters=PARAMETERS,
    model_name=NAMES,
)


def assert_same(found: Tensor, wanted: Tensor, *, bitwise: bool = True) -> None:
    """Equal to the last bit; without ``bitwise`` every NaN is as good as another (JSON has but one)."""
    assert (found.name, found.datatype, found.shape) == (wanted.name, wanted.datatype, wanted.shape)
    assert found.parameters == wanted.parameters
    if found.datatype == BYTES or not bitwise:
        np.testing.assert_array_equal(found.array, wanted.array)
    else:
        assert found.array.dtype == wanted.array.dtype
        assert found.array.tobytes() == wanted.array.tobytes()
