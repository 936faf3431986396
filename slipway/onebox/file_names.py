"""Names of objects as names of files: Kubernetes allows longer ones than a file system does."""

from __future__ import annotations

import hashlib

MAX_FILE_NAME_BYTES = 255
"""NAME_MAX of Linux, linux/limits.h."""
DIGEST_CHARS = 32


def file_name(text: str, *, suffix: str = "", most_bytes: int = MAX_FILE_NAME_BYTES) -> str:
    """``text`` and ``suffix``; where that is too long its beginning and a digest of it all. Names of objects are ASCII."""
    if len(text) + len(suffix) <= most_bytes:
        return f"{text}{suffix}"
    digest = hashlib.sha256(text.encode()).hexdigest()[:DIGEST_CHARS]
    return f"{text[: most_bytes - len(suffix) - DIGEST_CHARS - 1]}_{digest}{suffix}"
