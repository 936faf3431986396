"""Tests that learn. They run where PyTorch is: `make training` makes such an environment."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from mlflow import MlflowClient

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


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowClient]:
    """A store of MLflow's own in a file; each test has an experiment and a model of its own."""
    import mlflow

    folder = tmp_path_factory.mktemp("mlflow")
    uri = f"sqlite:///{folder}/mlflow.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        patch.chdir(folder)  # MLflow puts artifacts of such a store below the current folder
        mlflow.set_tracking_uri(uri)
        yield mlflow.MlflowClient()
