"""Datatypes of the Open Inference Protocol, by the names that they have on every wire."""

from __future__ import annotations

BOOL, BF16, BYTES = "BOOL", "BF16", "BYTES"
DATATYPES = (
    BOOL, "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64", BF16, BYTES,
)  # fmt: skip
