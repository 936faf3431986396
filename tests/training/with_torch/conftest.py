"""Tests that learn. They run where PyTorch is: `make training` makes such an environment."""

from __future__ import annotations

import importlib.util

import pytest

HAS_TORCH = importlib.util.find_spec("torch") is not None
collect_ignore_glob = [] if HAS_TORCH else ["test_*.py"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not HAS_TORCH:
        terminalreporter.write_line("tests/training/with_torch not run: torch is not here; `make training` runs them")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Small networks gain nothing from more, and sums in one order can be compared to the bit."""
    import torch

    torch.set_num_threads(1)
