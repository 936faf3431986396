"""What a prepackaged server answers when there is no prediction: the caller's mistake, or the model's."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from slipway.serving.errors import ServingError

T = TypeVar("T")

INPUT_MISMATCH = "INPUT_MISMATCH"
MODEL_FAILED = "MODEL_FAILED"
MODEL_HAS_NO_METHOD = "MODEL_HAS_NO_METHOD"


class ModelFolderError(Exception):
    """The folder cannot be served: what is missing or wrong in it, and what would be right."""


def mismatch(info: str) -> ServingError:
    """400: the request is not what the model takes."""
    return ServingError(info, reason=INPUT_MISMATCH)


def answer_of(call: Callable[[], T | None]) -> T:
    """What ``call`` returns. Raises ServingError 500 MODEL_FAILED for what the model raises, and for None."""
    try:
        answer = call()
    except ServingError:
        raise
    except Exception as exc:
        raise ServingError(
            f"the model raised {type(exc).__name__}: {exc}", status_code=500, reason=MODEL_FAILED
        ) from exc
    if answer is None:
        raise ServingError("the model returned nothing", status_code=500, reason=MODEL_FAILED)
    return answer
