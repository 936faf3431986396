"""How a compiled graph says which files it was made of, so that a stale one is never served."""

from __future__ import annotations

import hashlib
from pathlib import Path

CFG_KEY = "darknet.cfg.sha256"
WEIGHTS_KEY = "darknet.weights.sha256"


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
