"""A call into the component that does not end: the process ends instead, and is started again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from slipway.serving import limits
from slipway.serving.podinfo import REST_TIMEOUT, whole_number

HUNG = "a call into the component has not ended in %.1f s: this process ends, to be started again"

logger = logging.getLogger(__name__)


def patience_s(annotations: Mapping[str, str]) -> float:
    """Seconds that one call may take, as the Pod's ``seldon.io/rest-timeout`` says (contract §1.6).

    Never below MIN_CALL_S: a call that is only slow is not worth a load of the model.

    Raises:
        AnnotationError: it is not a number of milliseconds.
    """
    given_ms = whole_number(annotations, REST_TIMEOUT)
    return limits.DEFAULT_CALL_S if given_ms is None else max(given_ms / 1000, limits.MIN_CALL_S)


async def hung(longest_s: Callable[[], float], patience: float) -> None:
    """Returns when a call has run for longer than ``patience`` seconds: its thread cannot be stopped.

    ``longest_s``: for how long the oldest call that runs has.
    """
    while (longest := longest_s()) <= patience:  # noqa: ASYNC110 - time passing sets no event
        await asyncio.sleep(min(patience - longest, limits.HANG_CHECK_S) + limits.HANG_CHECK_MIN_S)
    logger.error(HUNG, longest)
