"""The two error bodies of the contract (sections 3.9 and 4.6), each with its machine code."""

from __future__ import annotations

from typing import Any

NO_READY_PREDICTOR = "NO_READY_PREDICTOR"
"""What the mesh of one machine says where no endpoint of a Service is ready."""


def component_error(reason: str, info: str) -> dict[str, Any]:
    """What a component answers; ``status`` and ``code`` are the wrapper's constants, not the HTTP status."""
    return {"status": {"status": 1, "info": info, "code": -1, "reason": reason}}


def executor_error(code: int, info: str, reason: str) -> dict[str, Any]:
    """What the executor itself answers; ``code`` is the HTTP status."""
    return {"status": {"code": code, "info": info, "reason": reason, "status": "FAILURE"}}
