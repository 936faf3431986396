"""Renames a key at the top of a large JSON object without reading its values: tensors stay the bytes that they are."""

from __future__ import annotations

import re

from slipway.serving.errors import ServingError
from slipway.serving.json_body import parse_json

MAX_PREFIX_BYTES = 64 * 1024
"""What may stand before the key; behind it may be anything."""


def renamed_key(body: bytes, old: str, new: str) -> bytes | None:
    """``body`` with its key ``old`` called ``new``; None where that takes more than a look at the object's beginning.

    ``old`` is the object's own key if what stands before it, closed there, is an object with nothing but ``old`` added.
    """
    quoted = f'"{old}"'.encode()
    found = re.compile(re.escape(quoted) + rb"[ \t\r\n]*:").search(body, 0, MAX_PREFIX_BYTES)
    if found is None:
        return None
    try:
        before = parse_json(body[: found.start()] + quoted + b":0}")
    except ServingError:
        return None
    if not isinstance(before, dict) or before.get(old) != 0 or new in before:
        return None
    return body[: found.start()] + f'"{new}"'.encode() + body[found.start() + len(quoted) :]
