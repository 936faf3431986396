"""What SIGHUP asks of a process that has its ports for itself."""

from __future__ import annotations

from slipway.microservice.restart import Restart
from slipway.serving.lifecycle import Lifecycle


def test_hangup_asks_for_a_stop_and_a_new_start() -> None:
    lifecycle, restart = Lifecycle(), Restart()
    restart.ask(lifecycle)
    assert (restart.asked, lifecycle.stop_asked.is_set(), lifecycle.is_replaced) == (True, True, False)


def test_hangup_after_a_stop_was_asked_for_starts_nothing_again() -> None:
    lifecycle, restart = Lifecycle(), Restart()
    lifecycle.stop_asked.set()
    restart.ask(lifecycle)
    assert not restart.asked
