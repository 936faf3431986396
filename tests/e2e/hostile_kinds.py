"""What one hostile upload is, and what it may lead to."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

JSON = "application/json"
PROTOBUF = "application/x-protobuf"
BOUNDARY = "----b"
FORM = f"multipart/form-data; boundary={BOUNDARY}"


class Outcome(Enum):
    """What an upload may lead to; a 5xx is never among it."""

    REFUSED = "a 4xx with a code"
    BOXES = "the boxes of the valid photo inside"
    EITHER = "a 4xx with a code, or some detections: what was damaged may still be a photo"


@dataclass(frozen=True)
class Upload:
    """One request body; ``is_heavy`` ones are sent one at a time, since each may take the whole decode limit."""

    name: str
    body: bytes
    content_type: str = "image/jpeg"
    outcome: Outcome = Outcome.REFUSED
    headers: dict[str, str] = field(default_factory=dict)
    is_heavy: bool = False
