"""Whose a feedback is: a reward for another predictor's reply would teach this one what nobody said.

A client names the predictor that answered in ``slipway-predictor``, and the gateway leads it there. What comes here all
the same is about a predictor that is no more, or came by a way that knows nothing of that header.
"""

from __future__ import annotations

from collections.abc import Iterable

from slipway.contract.headers import ANSWERED_BY
from slipway.serving.errors import ServingError

PREDICTOR_UNKNOWN = "FEEDBACK_PREDICTOR_UNKNOWN"
MAX_NAME_CHARS = 80


def named(values: Iterable[str]) -> str:
    """Of a request's ``slipway-predictor`` headers; empty where there is none, nobody's name where there are several."""
    return ", ".join(values)


def check_addressee(name: str, predictor: str) -> None:
    """Raises ServingError 404 FEEDBACK_PREDICTOR_UNKNOWN where feedback names another predictor than this, ``predictor``.

    One that names none is for whoever gets it, as in Seldon, and outside of a predictor (``""``) every one is.
    """
    if name and predictor and name != predictor:
        raise ServingError(
            f"this feedback is about a reply of predictor {name[:MAX_NAME_CHARS]!r} ({ANSWERED_BY}), and this is "
            f"{predictor!r}: it was not counted. Either that predictor is no more, or this way does not lead to it",
            status_code=404,
            reason=PREDICTOR_UNKNOWN,
        )
