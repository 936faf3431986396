"""What SIGHUP asks of one worker, and of a process that has its ports for itself."""

from __future__ import annotations

import pytest

from slipway.microservice.restart import Restart
from slipway.serving.lifecycle import Lifecycle


@pytest.mark.parametrize("has_others", [True, False])
def test_hangup_leaves_the_ports_at_once_only_where_others_listen_there(*, has_others: bool) -> None:
    lifecycle, restart = Lifecycle(), Restart(has_others=has_others)
    restart.ask(lifecycle)
    assert (restart.asked, lifecycle.stop_asked.is_set(), lifecycle.is_replaced) == (True, True, has_others)


def test_hangup_after_a_stop_was_asked_for_starts_nothing_again() -> None:
    lifecycle, restart = Lifecycle(), Restart(has_others=True)
    lifecycle.stop_asked.set()
    restart.ask(lifecycle)
    assert (restart.asked, lifecycle.is_replaced) == (False, False)
