"""Fixtures and options of every test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest

from tests.data import SHARED_DATA

hypothesis.settings.register_profile("unhurried", deadline=None)  # a loaded machine is no failure
hypothesis.settings.load_profile("unhurried")
_without_data: list[str] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite golden files instead of comparing")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect, and count out loud, the tests whose data is not here."""
    if SHARED_DATA.is_dir():
        return
    missing = [item for item in items if item.get_closest_marker("data")]
    if missing:
        _without_data.extend(item.nodeid for item in missing)
        config.hook.pytest_deselected(items=missing)
        items[:] = [item for item in items if item not in set(missing)]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _without_data:
        terminalreporter.write_line(f"{len(_without_data)} tests not run: {SHARED_DATA} is not here", yellow=True)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """``golden(name, text)`` compares ``text`` with ``golden/<name>`` beside the test file, or rewrites it."""
    folder = Path(request.path).parent / "golden"
    update: bool = request.config.getoption("--update-golden")

    def compare(name: str, text: str) -> None:
        path = folder / name
        if update:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        assert path.exists(), f"{path} does not exist: run with --update-golden and read the diff"
        assert text == path.read_text(), f"{path} differs: run with --update-golden and read the diff"

    return compare
