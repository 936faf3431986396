"""What a session builds once fails once: the test that asked first tells it, the others name that test."""

from __future__ import annotations

from collections.abc import Generator

import pytest

TOLD = pytest.StashKey[dict[BaseException, str]]()
"""Failures of setups, each with the test that has told it: pytest keeps that of a session's fixture and raises it again."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if call.when == "setup" and report.failed and call.excinfo is not None:
        first = item.config.stash.setdefault(TOLD, {}).setdefault(call.excinfo.value, item.nodeid)
        if first != item.nodeid:
            report.longrepr = f"not begun: {first} tells why"
    return report
