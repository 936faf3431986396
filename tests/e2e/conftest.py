"""One platform for the whole run: the demo's, with everything that the demo leaves behind."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.platform import Platform


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """Up, with the demo's models, images and canary ``yolo``; down afterwards, leaving no process."""
    platform = Platform.on_free_ports(tmp_path_factory.mktemp("home"))
    try:
        platform.up()
        demo = platform.run(sys.executable, "-m", "scripts.demo", "--gateway", platform.gateway)
        (platform.home / "demo.txt").write_text(demo)
        yield platform
    finally:
        platform.down()
