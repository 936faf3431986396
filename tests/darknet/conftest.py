"""Deselects, and counts out loud, the tests of an engine that is not installed."""

from __future__ import annotations

from collections import Counter

import pytest

from model_wrappers.darknet.engines import installed_engines

NEEDS = {
    "darknet": "no libdarknet.so (apt-get install darknet)",
    "openvino": "no OpenVINO (requirements/openvino.txt)",
}
_left_out: Counter[str] = Counter()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    missing = NEEDS.keys() - set(installed_engines())
    left_out = {item: name for item in items for name in missing if item.get_closest_marker(name)}
    if left_out:
        _left_out.update(left_out.values())
        config.hook.pytest_deselected(items=list(left_out))
        items[:] = [item for item in items if item not in left_out]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for name, count in _left_out.items():
        terminalreporter.write_line(f"{count} tests not run: {NEEDS[name]}", yellow=True)
