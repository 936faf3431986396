"""The first member of a backup: what made it, so that a reader can say at once whether it can use it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Any

from slipway.onebox.backup.errors import NotRestored

FORMAT = 1
"""Of the file. A release reads this one and older ones."""
MAX_HEADER_BYTES = 1 << 16


@dataclass(frozen=True)
class Header:
    """``interpreter``: what the Python environments in it were made for. ``home``: where they lay. ``home_format``: its state."""

    format: int
    release: str
    made: str
    home: str
    home_format: int
    interpreter: str
    has_environments: bool


def render_header_file(header: Header) -> bytes:
    return (json.dumps(asdict(header), indent=2) + "\n").encode()


def parse_header_file(content: bytes) -> Header:
    """Raises ValueError for something else, NotRestored for what a newer release wrote."""
    loaded: Any = json.loads(content)
    if not isinstance(loaded, dict) or not isinstance(loaded.get("format"), int):
        raise ValueError("an object with the number `format` is expected")  # noqa: TRY004  - of content, not of a caller
    if loaded["format"] > FORMAT:
        raise NotRestored(
            f"made by Slipway {loaded.get('release')} in format {loaded['format']}; this release reads formats up to "
            f"{FORMAT}: restore it with Slipway {loaded.get('release')} or a newer one"
        )
    known = {item.name: item.type for item in fields(Header)}
    types = {"int": int, "str": str, "bool": bool}
    for name, kind in known.items():
        if type(loaded.get(name)) is not types[str(kind)]:
            raise ValueError(f"`{name}` is no {kind}")
    return Header(**{name: loaded[name] for name in known})
