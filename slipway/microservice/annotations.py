"""The Pod's annotations as a downwardAPI volume writes them: ``key="value"`` lines."""

from __future__ import annotations

import json
from pathlib import Path

GRPC_MAX_MESSAGE = "seldon.io/grpc-max-message-size"
MAX_FILE_BYTES = 1024 * 1024


class AnnotationError(Exception):
    """An annotation that makes no sense; the text names file and key."""


def read_annotations(path: Path) -> dict[str, str]:
    """Key → value; no file is no annotation. Lines split at the first ``=``, so values may contain more of them."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_FILE_BYTES).decode(errors="replace")
    except FileNotFoundError:
        return {}
    except OSError as exc:
        raise AnnotationError(f"{path} cannot be read: {exc.strerror}") from exc
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {key.strip(): _unquoted(value.strip()) for key, _, value in pairs}


def _unquoted(value: str) -> str:
    """The kubelet quotes values as Go does, which is JSON's way for all that annotations hold."""
    try:
        parsed = json.loads(value)
    except ValueError:
        return value.strip('"')
    return parsed if isinstance(parsed, str) else value


def max_message_bytes(path: Path, *, default: int) -> int:
    """The limit of gRPC messages, from the annotation or ``default``; AnnotationError if it is no size."""
    text = read_annotations(path).get(GRPC_MAX_MESSAGE)
    if text is None:
        return default
    if not text.isdecimal() or not 0 < int(text) < 2**31:
        raise AnnotationError(f"{path}: {GRPC_MAX_MESSAGE}: {text!r} is not a number of bytes")
    return int(text)
