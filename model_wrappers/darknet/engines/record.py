"""``engines.json``: which engines ran a model when it was registered, how fast, where, and of which files it speaks."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from model_wrappers.darknet.engines import ENGINES, INT8_ENGINE
from model_wrappers.darknet.errors import ModelFolderError
from model_wrappers.darknet.timing import TOLERANCE, EngineTiming, ranked
from model_wrappers.regular_file import read_start

MAX_RECORD_BYTES = 1 << 16


@dataclass(frozen=True)
class EngineRecord:
    """``machine`` and ``threads`` are those that ``timings`` were taken with, on the files of these SHA-256."""

    cfg_sha256: str
    weights_sha256: str
    machine: str
    threads: int
    timings: tuple[EngineTiming, ...]

    @property
    def order(self) -> tuple[EngineTiming, ...]:
        """The usable engines, fastest first."""
        return ranked(self.timings)


def render_record(record: EngineRecord) -> str:
    """The text of ``engines.json``: all engines, the usable ones first, fastest first."""
    rest = (timing for timing in record.timings if not timing.is_usable)
    rows = [{**asdict(timing), "usable": timing.is_usable} for timing in (*record.order, *rest)]
    document = {**asdict(record), "tolerance": TOLERANCE}
    del document["timings"]
    return json.dumps({**document, "engines": rows}, indent=1) + "\n"


def load_record(path: Path) -> EngineRecord:
    """Read an ``engines.json``. Raises ``ModelFolderError`` for what is none."""
    data = read_start(path, MAX_RECORD_BYTES + 1)
    if len(data) > MAX_RECORD_BYTES:
        raise ModelFolderError(str(path), f"is larger than {MAX_RECORD_BYTES} bytes")
    try:
        document = json.loads(data)
        return EngineRecord(
            cfg_sha256=_text(document, "cfg_sha256"),
            weights_sha256=_text(document, "weights_sha256"),
            machine=_text(document, "machine"),
            threads=int(document["threads"]),
            timings=tuple(_timing(row) for row in document["engines"]),
        )
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as exc:
        raise ModelFolderError(str(path), f"is no record of engines: {exc!r}") from exc


def _timing(row: Mapping[str, Any]) -> EngineTiming:
    name = _text(row, "engine")
    if name not in (*ENGINES, INT8_ENGINE):
        raise ValueError(f"engine {name!r} is not one of {', '.join((*ENGINES, INT8_ENGINE))}")
    return EngineTiming(
        engine=name,
        version=_text(row, "version"),
        milliseconds=_number(row["milliseconds"]),
        rounds=int(row["rounds"]),
        difference=_number(row["difference"]),
        problem=_text(row, "problem"),
        map_loss=None if row["map_loss"] is None else _number(row["map_loss"]),
        max_map_loss=None if row["max_map_loss"] is None else _number(row["max_map_loss"]),
    )


def _number(value: Any) -> float:
    if not math.isfinite(value):
        raise ValueError(f"{value} is no measurement")
    return float(value)


def _text(document: Mapping[str, Any], key: str) -> str:
    value = document[key]
    if not isinstance(value, str):
        raise TypeError(f"{key} is {value!r}, not a text")
    return value
