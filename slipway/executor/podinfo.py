"""The Pod's annotations (downward API file) → time-outs and message sizes (contract §1.6, §3.9)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from slipway.contract.limits import MAX_BODY_BYTES
from slipway.executor.errors import SettingError
from slipway.executor.limits import REQUEST_DEADLINE_S

REST_TIMEOUT = "seldon.io/rest-timeout"
GRPC_TIMEOUT = "seldon.io/grpc-timeout"
GRPC_MAX_MESSAGE_SIZE = "seldon.io/grpc-max-message-size"
MAX_FILE_BYTES = 1024 * 1024


@dataclass(frozen=True)
class CallLimits:
    """Seconds that one call of a node may take (None: only the request's deadline), and a gRPC message's size."""

    rest_timeout_s: float | None = None
    grpc_timeout_s: float | None = None
    grpc_max_message_bytes: int = MAX_BODY_BYTES

    def deadline_s(self, *, nodes: int) -> float:
        """For a whole request: REQUEST_DEADLINE_S, or what the nodes' own time-outs add up to if that is more."""
        longest = max(self.rest_timeout_s or 0.0, self.grpc_timeout_s or 0.0)
        return max(REQUEST_DEADLINE_S, longest * nodes)


def load_annotations(path: Path) -> dict[str, str]:
    """The annotations in ``path``; none where there is no such file.

    Raises:
        SettingError: a line is not ``key="value"``.
    """
    try:
        with path.open(encoding="utf-8") as file:
            return parse_annotations(file.read(MAX_FILE_BYTES), where=str(path))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f"{path}: {error}") from error


def parse_annotations(text: str, *, where: str) -> dict[str, str]:
    """Lines ``key="value"`` or ``key=value``; a value may contain ``=``."""
    found = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        key, equals, value = line.partition("=")
        if not equals:
            raise SettingError(f'{where}:{number}: {line[:120]!r} is not key="value"')
        found[key.strip()] = _unquoted(value.strip())
    return found


def call_limits(annotations: Mapping[str, str]) -> CallLimits:
    """Limits that the annotations ask for.

    Raises:
        SettingError: one of them is not a positive whole number.
    """
    rest_ms = _positive(annotations, REST_TIMEOUT)
    grpc_ms = _positive(annotations, GRPC_TIMEOUT)
    return CallLimits(
        rest_timeout_s=rest_ms / 1000 if rest_ms else None,
        grpc_timeout_s=grpc_ms / 1000 if grpc_ms else None,
        grpc_max_message_bytes=_positive(annotations, GRPC_MAX_MESSAGE_SIZE) or MAX_BODY_BYTES,
    )


def _positive(annotations: Mapping[str, str], key: str) -> int | None:
    text = annotations.get(key)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 2**31):
        raise SettingError(f"annotation {key}: {text!r} is not a whole number above 0")
    return int(text)


def _unquoted(value: str) -> str:
    """A value as the downward API quotes it; anything else loses its outer quotes only."""
    if not (len(value) > 1 and value[0] == value[-1] == '"'):
        return value
    try:
        text = json.loads(value)
    except ValueError:  # Go quotes some characters in a way that JSON does not have
        return value[1:-1]
    return str(text)
