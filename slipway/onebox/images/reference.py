"""Image names as manifests write them: ``[registry/]path[:tag][@sha256:digest]`` → a typed reference."""

from __future__ import annotations

import re
from dataclasses import dataclass

from slipway.onebox.images.errors import InvalidReference

DEFAULT_TAG = "latest"
OURS = "slipway/"
"""Begins the name of every image of this project, whose image.yaml is below ``images/``."""
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
MAX_REFERENCE_CHARS = 255
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    rf"(?P<name>(?:[A-Za-z0-9.-]+(?::[0-9]+)?/)?{_PART}(?:/{_PART})*)"
    rf"(?::(?P<tag>\w[\w.-]{{0,127}}))?(?:@(?P<digest>{DIGEST.pattern}))?",
    re.ASCII,
)


@dataclass(frozen=True)
class Reference:
    """``digest`` is set where the name pins one; the tag is then only for people."""

    name: str
    tag: str = DEFAULT_TAG
    digest: str | None = None

    def __str__(self) -> str:
        return f"{self.name}:{self.tag}" + (f"@{self.digest}" if self.digest else "")

    @property
    def build_command(self) -> str:
        """What makes it; of an image of one's own nobody but its author knows FOLDER, which holds its image.yaml."""
        return f"slipway image build {self.name}:{self.tag}" + ("" if self.name.startswith(OURS) else " FOLDER")


def parse_reference(text: str) -> Reference:
    """Raises InvalidReference."""
    matched = _REFERENCE.fullmatch(text) if len(text) <= MAX_REFERENCE_CHARS else None
    if matched is None:
        raise InvalidReference(f"{text[:MAX_REFERENCE_CHARS]!r} is not an image name: expected NAME:TAG in lower case")
    return Reference(matched["name"], matched["tag"] or DEFAULT_TAG, matched["digest"])
