"""Imports of a server's start, without the searches for garbage that their many new objects would set off."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def lasting_imports() -> Iterator[None]:
    """What the block makes stays: nothing is searched meanwhile, and later searches leave it out (``gc.freeze``).

    A hundred searches were a tenth of the processor time of the imports, and a full one while serving looked through all
    that they had made.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
