"""Deselects, and counts out loud, the tests that need Debian's darknet where it is not installed."""

from __future__ import annotations

import pytest

from model_wrappers.darknet.engines.libdarknet import LIBRARY_PATH, library_path

_without_darknet: list[str] = []


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if library_path() is not None:
        return
    missing = [item for item in items if item.get_closest_marker("darknet")]
    if missing:
        _without_darknet.extend(item.nodeid for item in missing)
        config.hook.pytest_deselected(items=missing)
        items[:] = [item for item in items if item not in set(missing)]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _without_darknet:
        line = f"{len(_without_darknet)} tests not run: no {LIBRARY_PATH} (apt-get install darknet)"
        terminalreporter.write_line(line, yellow=True)
