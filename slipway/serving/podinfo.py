"""The Pod's annotations, as a downwardAPI volume writes them: ``key="value"`` lines (contract §1.6, §2.2)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

FILE_VARIABLE = "SLIPWAY_ANNOTATIONS_FILE"
"""Environment variable with the file's path, where it is not DEFAULT_FILE."""
DEFAULT_FILE = "/etc/podinfo/annotations"
REST_TIMEOUT = "seldon.io/rest-timeout"
GRPC_TIMEOUT = "seldon.io/grpc-timeout"
GRPC_MAX_MESSAGE_SIZE = "seldon.io/grpc-max-message-size"
MAX_FILE_BYTES = 1024 * 1024


class AnnotationError(Exception):
    """An annotation that makes no sense; the text names the file and line, or the key."""


def annotations_file(environment: Mapping[str, str]) -> Path:
    """Where the annotations are, as the environment says."""
    return Path(environment.get(FILE_VARIABLE) or DEFAULT_FILE)


def read_annotations(path: Path) -> dict[str, str]:
    """The annotations in ``path``; none where there is no such file.

    Raises:
        AnnotationError: it cannot be read, or a line is not ``key="value"``.
    """
    try:
        with path.open("rb") as file:
            return parse_annotations(file.read(MAX_FILE_BYTES).decode(), where=str(path))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise AnnotationError(f"{path}: {error}") from error


def parse_annotations(text: str, *, where: str) -> dict[str, str]:
    """Lines ``key="value"`` or ``key=value``; a value may contain ``=``."""
    found = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        key, equals, value = line.partition("=")
        if not equals:
            raise AnnotationError(f'{where}:{number}: {line[:120]!r} is not key="value"')
        found[key.strip()] = _unquoted(value.strip())
    return found


def _unquoted(value: str) -> str:
    """A value as the downward API quotes it; anything else loses its outer quotes only."""
    if not (len(value) > 1 and value[0] == value[-1] == '"'):
        return value
    try:
        text = json.loads(value)
    except ValueError:  # Go quotes some characters in a way that JSON does not have
        return value[1:-1]
    return str(text)


def whole_number(annotations: Mapping[str, str], key: str) -> int | None:
    """The value of ``key``, None where it is not given.

    Raises:
        AnnotationError: it is not a whole number from 1 to 2**31 - 1.
    """
    text = annotations.get(key)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 2**31):
        raise AnnotationError(f"annotation {key}: {text!r} is not a whole number above 0")
    return int(text)
