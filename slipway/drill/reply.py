"""One request of a load and what came back, and its form as a line between the generator and whoever started it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

Detection = Mapping[str, Any]
"""``{"label": …, "confidence": 0..1, "box": {"x_min": …, "y_min": …, "x_max": …, "y_max": …}}``, pixels of the photo."""
LATE = 0
"""Status of a request without an answer in time."""


@dataclass(frozen=True)
class Reply:
    """Times are on time.monotonic, which all processes of a machine share.

    ``due``: when it should have been sent, which latencies count from. ``sent``: when its last try began. ``status`` is
    HTTP's, 0 without an answer. ``tries``: how often it was sent. ``refused``: tries to which nobody listened.
    """

    photo: int
    due: float
    sent: float
    done: float
    status: int
    predictor: str = ""
    model: str = ""
    error: str = ""
    tries: int = 1
    refused: int = 0
    detections: tuple[Detection, ...] = ()

    @property
    def is_valid(self) -> bool:
        return self.status == 200 and not self.error

    @property
    def latency_s(self) -> float:
        return self.done - self.due

    def as_line(self) -> bytes:
        """``vars``, not ``asdict``: copying every box cost a fifth of the generator's time."""
        return json.dumps(vars(self), separators=(",", ":")).encode() + b"\n"


@dataclass(frozen=True)
class Effort:
    """What the generator itself cost: CPU seconds, seconds in all, and by how much it was late at worst."""

    cpu_s: float
    wall_s: float
    late_s: float

    @property
    def cpu_share(self) -> float:
        """Of one core."""
        return self.cpu_s / self.wall_s if self.wall_s else 0.0

    def as_line(self) -> bytes:
        return json.dumps({"effort": asdict(self)}).encode() + b"\n"


def parse_line(line: bytes) -> Reply | Effort:
    """The value of one line."""
    data: dict[str, Any] = json.loads(line)
    if "effort" in data:
        return Effort(**data["effort"])
    return Reply(**{**data, "detections": tuple(data["detections"])})


def parse_detections(body: bytes) -> tuple[Detection, ...] | None:
    """The boxes of a Seldon answer; None where it is not one with boxes."""
    try:
        found = json.loads(body)["jsonData"]["detections"]
        return tuple({"label": item["label"], "confidence": item["confidence"], "box": item["box"]} for item in found)
    except (ValueError, KeyError, TypeError):
        return None
