"""What a file is when it is not what its name says: the usual accidents of downloads, named."""

from __future__ import annotations

import re
from typing import Literal

HEAD_BYTES = 512
TEXT_BYTES = 16  # a weights header has 16 bytes or more, several of them zero

_NET_SECTION = re.compile(rb"^[ \t]*\[net(work)?\]", re.MULTILINE | re.IGNORECASE)
_TEXT = re.compile(rb"[\t\r\n -~]{%d}" % TEXT_BYTES)

Wanted = Literal["cfg", "weights", "names"]

_BINARY = (
    (b"PK\x03\x04", "a ZIP archive (a PyTorch checkpoint is one)"),
    (b"\x1f\x8b", "a gzip archive: unpack it first"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"\x80\x02", "a Python pickle"),
    (b"\x89HDF", "an HDF5 file (Keras weights?)"),
    (b"Rar!", "a RAR archive: unpack it first"),
    (b"7z\xbc\xaf", "a 7z archive: unpack it first"),
)
_ONNX = re.compile(rb"\x08[\x03-\x0f]\x12")  # ModelProto: ir_version, then the producer's name


def mistaken_for(data: bytes, wanted: Wanted) -> str:
    """A sentence that names what ``data`` (the file, or its first bytes) is instead of ``wanted``; empty if unknown."""
    head = data[:HEAD_BYTES]
    return _other_format(head, wanted) or _swapped(head, wanted)


def _other_format(head: bytes, wanted: Wanted) -> str:
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return f"is an HTML page, not Darknet {wanted}: the download answered with a web page"
    if start.startswith(b"version https://git-lfs"):
        return f"is a Git LFS pointer, not Darknet {wanted}: run `git lfs pull`"
    found = next((what for magic, what in _BINARY if head.startswith(magic)), "")
    if not found and _ONNX.match(head):
        found = "an ONNX graph"
    return f"is {found}, not Darknet {wanted}" if found else ""


def _swapped(head: bytes, wanted: Wanted) -> str:
    if wanted != "cfg" and _NET_SECTION.search(head):
        return f"is a cfg, not {wanted}: are the files swapped?"
    if wanted == "weights" and _TEXT.match(head):
        return "is text, not Darknet weights: is it swapped with the names?"
    if wanted != "weights" and b"\x00" in head:
        return f"is binary, not Darknet {wanted}: is it swapped with the weights?"
    return ""
