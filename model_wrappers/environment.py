"""What a child process that handles foreign bytes gets of the environment: what it needs to run, and no keys."""

from __future__ import annotations

import os
from collections.abc import Iterable

CONTAINER_VARIABLE = "SLIPWAY_CONTAINER"  # by it the runner ends whatever a container has left


def passed(names: Iterable[str]) -> dict[str, str]:
    """Those of ``names`` that are set here."""
    return {name: os.environ[name] for name in names if name in os.environ}
