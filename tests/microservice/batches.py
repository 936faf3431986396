"""What a batch answers, for the tests of both protocols."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from slipway.microservice.batches import Job, answer_together
from slipway.microservice.hooks import Hooks


def answer(hooks: Hooks, jobs: Sequence[Job]) -> list[Any]:
    """Each job's reply or Raised, from a component that says nothing of its calls."""
    return answer_together(hooks, jobs, stop_joining=lambda: pytest.fail("joining was stopped"))
