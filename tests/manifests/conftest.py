"""A manifest that cannot be read is one failure: what would be built of it is not tried where that one is told."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tests.manifests import kustomizations

STRICT = "tests/manifests/test_files.py::test_file_has_no_key_twice_and_no_tab"


def pytest_collection_modifyitems(items: Iterable[pytest.Item]) -> None:
    kustomizations.IS_TOLD.clear()
    if any(item.nodeid.startswith(STRICT) for item in items):
        kustomizations.IS_TOLD.append(STRICT)
