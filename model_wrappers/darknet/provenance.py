"""How a compiled graph says which files it was made of, so that a stale one is never served.

The metadata of an ONNX file is read here straight from its protobuf (ModelProto, field 14 of onnx.proto: entries of key
and value), because importing ``onnx`` takes longer than loading a small model.
"""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Iterator
from pathlib import Path

from model_wrappers.regular_file import open_regular

CFG_KEY = "darknet.cfg.sha256"
WEIGHTS_KEY = "darknet.weights.sha256"
MAX_METADATA_BYTES = 1 << 16  # of one entry; a longer one is not ours

_METADATA_FIELD, _KEY_FIELD, _VALUE_FIELD = 14, 1, 2
_VARINT, _BYTES = 0, 2
_FIXED_BYTES = {1: 8, 5: 4}  # wire types of 64 and 32 bits
_MAX_VARINT_BYTES = 10


def file_sha256(path: Path) -> str:
    """SHA-256 of a regular file, in hex."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def graph_metadata(path: Path) -> dict[str, str]:
    """The metadata of an ONNX file; empty for what is no such file."""
    if path.stat().st_size == 0:
        return {}
    with open_regular(path) as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            entries = [data[start:end] for field, start, end in _fields(data, len(data)) if field == _METADATA_FIELD]
            return dict(_entry(entry) for entry in entries if len(entry) <= MAX_METADATA_BYTES)
        except ValueError:  # not a protobuf message, or text in it that is none
            return {}


def _entry(data: bytes) -> tuple[str, str]:
    texts = {field: data[start:end].decode() for field, start, end in _fields(data, len(data))}
    return texts.get(_KEY_FIELD, ""), texts.get(_VALUE_FIELD, "")


def _fields(data: bytes | mmap.mmap, length: int) -> Iterator[tuple[int, int, int]]:
    """Number, start and end of each field that holds bytes. ``ValueError`` where the message ends within a field."""
    at = 0
    while at < length:
        tag, at = _varint(data, at)
        kind, size = tag & 7, 0
        if kind == _BYTES:
            size, at = _varint(data, at)
            yield tag >> 3, at, at + size
        elif kind == _VARINT:
            _, at = _varint(data, at)
        else:
            size = _FIXED_BYTES.get(kind, length)
        at += size
        if at > length:
            raise ValueError("the message ends within a field")


def _varint(data: bytes | mmap.mmap, at: int) -> tuple[int, int]:
    value = 0
    for place, byte in enumerate(data[at : at + _MAX_VARINT_BYTES]):
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, at + place + 1
    raise ValueError("a number that does not end")
