"""Datatypes, bounds and the binary form of V2 tensors."""

from __future__ import annotations

import struct
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.contract.datatypes import DATATYPES
from slipway.serving.errors import ServingError
from slipway.serving.limits import MAX_VALUES
from slipway.serving.v2_tensors import (
    DTYPES,
    MAX_ELEMENTS,
    Tensor,
    array_of_raw,
    array_of_values,
    count_of,
    flattened,
    raw_of,
    tensor_of,
)
from tests.serving.v2_strategies import assert_same, tensors

SIZES = {"BOOL": 1, "UINT8": 1, "UINT16": 2, "UINT32": 4, "UINT64": 8, "INT8": 1, "INT16": 2, "INT32": 4, "INT64": 8,
         "FP16": 2, "FP32": 4, "FP64": 8, "BF16": 2}  # fmt: skip


@given(tensors())
@settings(deadline=None)
def test_binary_form_gives_the_same_bits_back(tensor):
    raw = raw_of(tensor)
    again = replace(tensor, array=array_of_raw(raw, tensor.datatype, tensor.shape, "x"))
    assert raw_of(again) == raw
    assert_same(again, tensor)


@pytest.mark.parametrize("datatype", sorted(SIZES))
def test_binary_form_is_the_elements_little_endian(datatype):
    raw = bytes([1] + [0] * (SIZES[datatype] - 1)) * 2
    array = array_of_raw(raw, datatype, [2], "x")
    assert raw_of(Tensor("x", datatype, array)) == raw
    with pytest.raises(ServingError, match=f"shape \\[3\\] of {datatype} is {3 * SIZES[datatype]} bytes, found"):
        array_of_raw(raw, datatype, [3], "x")


def test_every_datatype_of_the_protocol_is_known():
    assert {*SIZES, "BYTES"} == {*DTYPES, "BYTES"} == set(DATATYPES)


@pytest.mark.parametrize(
    ("shape", "word"),
    [
        ([-1], "negative"),
        ([2**40, 2**40], "elements"),
        ([0, 2**62], "elements"),
        ([2**31, 2**31, 4], "elements"),
        ([MAX_ELEMENTS + 1], "elements"),
        ([1] * 33, "dimensions"),
    ],
)
@pytest.mark.parametrize("datatype", ["FP64", "BYTES", "BF16"])
def test_shapes_that_no_tensor_has_are_refused_before_memory_is_taken(shape, word, datatype):
    for make in (array_of_raw, array_of_values):
        with pytest.raises(ServingError, match=word) as raised:
            make(b"", datatype, shape, "x")
        assert raised.value.status_code == 400


def test_scalars_and_empty_tensors_are_tensors():
    assert count_of([], "x") == 1
    assert count_of([0, 4], "x") == 0
    assert array_of_raw(b"\x07", "UINT8", [], "x").shape == ()
    assert array_of_raw(b"", "FP32", [0, 4], "x").shape == (0, 4)
    assert array_of_values([], "BYTES", [0], "x").shape == (0,)


@pytest.mark.parametrize(
    ("raw", "count"),
    [
        (b"", 1),
        (b"\x01\x00\x00\x00", 1),
        (struct.pack("<I", 2**32 - 1) + b"a", 1),
        (b"\x01\x00\x00\x00ab", 1),
        (b"\x01\x00\x00\x00a\x00\x00", 2),
        (b"\x05\x00\x00\x00abcde" * 2, 3),
    ],
)
def test_bytes_with_lengths_that_do_not_fit_are_refused(raw, count):
    with pytest.raises(ServingError, match="BYTES"):
        array_of_raw(raw, "BYTES", [count], "x")


def test_number_of_byte_strings_is_bounded():
    with pytest.raises(ServingError, match="the limit is"):
        array_of_raw(b"\x00" * 4 * (MAX_VALUES + 1), "BYTES", [MAX_VALUES + 1], "x")


@pytest.mark.parametrize(
    ("values", "datatype"),
    [
        ([256], "UINT8"),
        ([-1], "UINT64"),
        ([2**63], "INT64"),
        ([2**64], "UINT64"),
        ([1.5], "INT32"),
        ([True], "INT32"),
        ([1], "BOOL"),
        (["1"], "FP32"),
        ([1e39], "FP32"),
        ([70000.0], "FP16"),
        ([10**400], "FP64"),
        ([3.4e38 * 1.01], "BF16"),
        ([1], "BYTES"),
        ([None], "FP32"),
        ([[1]], "INT32"),
        ([{}], "BOOL"),
    ],
)
def test_values_that_do_not_fit_their_datatype_are_refused(values, datatype):
    with pytest.raises(ServingError, match=r"^x: "):
        array_of_values(values, datatype, [1], "x")


def test_bf16_is_rounded_to_the_nearest_and_keeps_nan_and_infinity():
    given_, kept = [1.0, 1.00390625, 1.01171875, float("inf"), -2.5], [1.0, 1.0, 1.015625, float("inf"), -2.5]
    assert array_of_values(given_, "BF16", [5], "x").tolist() == kept
    assert np.isnan(array_of_values([float("nan")], "BF16", [1], "x")).all()


@given(st.integers(-(2**70), 2**70), st.sampled_from(["INT8", "INT16", "INT32", "INT64", "UINT8", "UINT32", "UINT64"]))
@settings(deadline=None)
def test_integers_are_kept_exactly_or_refused(value, datatype):
    bits = int(datatype.lstrip("UINT"))
    low, high = (0, 2**bits) if datatype.startswith("U") else (-(2 ** (bits - 1)), 2 ** (bits - 1))
    if low <= value < high:
        assert array_of_values([value], datatype, [1], "x").tolist() == [value]
    else:
        with pytest.raises(ServingError):
            array_of_values([value], datatype, [1], "x")


def test_nested_data_must_have_the_nesting_of_its_shape():
    assert flattened([[1, 2], [3, 4]], [2, 2], "x") == [1, 2, 3, 4]
    assert flattened([1, 2, 3, 4], [2, 2], "x") == [1, 2, 3, 4]
    for data, shape in (([[1, 2], [3]], [2, 2]), ([[1, 2], 3], [2, 2]), ([[1], [2]], [1, 2]), ("ab", [2]), (None, [1])):
        with pytest.raises(ServingError, match="^x: "):
            flattened(data, shape, "x")


def test_arrays_without_a_datatype_are_the_component_s_fault():
    for array in (np.zeros(1, dtype="c16"), np.array([object()]), np.zeros(1, dtype="M8[s]")):
        with pytest.raises(ServingError, match="output y") as raised:
            tensor_of("y", array)
        assert raised.value.status_code == 500
    assert tensor_of("y", np.array(["a", "é"])).array.tolist() == [b"a", "é".encode()]
    assert tensor_of("y", np.arange(3, dtype=">i4")).array.tobytes() == np.arange(3, dtype="<i4").tobytes()
