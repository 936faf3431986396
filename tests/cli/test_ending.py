"""SIGTERM ends a command that has something to tidy up as Ctrl-C does."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest

from slipway.cli.ending import term_is_interrupt


@pytest.fixture(params=[signal.default_int_handler, signal.SIG_IGN], ids=["terminal", "background"], autouse=True)
def interrupts(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a shell in a terminal, and one that starts a command in the background, leave of SIGINT."""
    before = signal.signal(signal.SIGINT, request.param)
    yield
    signal.signal(signal.SIGINT, before)


def test_term_is_an_interrupt_within_the_block_and_nowhere_else() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), term_is_interrupt():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == before


def test_work_of_an_event_loop_tidies_up_at_term() -> None:
    tidied: list[str] = []

    async def work() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            tidied.append("tidied")

    with pytest.raises(KeyboardInterrupt), term_is_interrupt():
        asyncio.run(work())
    assert tidied == ["tidied"]
