"""One platform for the whole run: the demo's, with everything that the demo leaves behind."""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from slipway.onebox.images.store import remove_tree
from slipway.onebox.paths import SOCKETS
from slipway.onebox.services.credentials import load_model_credentials
from tests.e2e import guest
from tests.e2e.hub import Hub
from tests.e2e.platform import Platform

MADE = "slipway-e2e-"
LAST = ("test_recovery.py", "test_secrets.py", "test_down.py")
"""These kill, search and stop what the others use, in this order."""

TEST_TIMEOUT_S = 900
"""Of one test with what it is the first to need: the platform with its demo takes minutes to come up on a busy machine."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    mine = [item for item in items if Path(__file__).parent in item.path.parents]
    for item in mine:
        item.add_marker(pytest.mark.e2e)
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TEST_TIMEOUT_S))
    order = {id(item): LAST.index(item.path.name) + 1 for item in mine if item.path.name in LAST}
    items.sort(key=lambda item: order.get(id(item), 0))  # stable: all others stay where they are


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """Up, with the demo's models, images and canary ``yolo``; down afterwards, leaving no process."""
    platform = Platform.on_free_ports(home_for(tmp_path_factory))
    try:
        platform.up()
        demo = platform.run(sys.executable, "-m", "scripts.demo")
        (platform.home / "demo.txt").write_text(demo)
        yield platform
    finally:
        platform.down()
        remove_made_home(platform.home)


def home_for(factory: pytest.TempPathFactory) -> Path:
    """A folder for a platform. As root the hub's users must be able to pass what is above it, and pytest's are closed."""
    if os.getuid() != 0:
        return factory.mktemp("home")
    above = Path(tempfile.mkdtemp(prefix=MADE, dir=SOCKETS))
    above.chmod(0o711)
    home = above / "home"
    home.mkdir()
    return home


def remove_made_home(home: Path) -> None:
    """What ``home_for`` has made as root; others are pytest's, which keeps the last ones."""
    if home.parent.parent == SOCKETS and home.parent.name.startswith(MADE):
        remove_tree(home.parent)


@pytest.fixture(scope="session")
def hub(platform: Platform) -> Iterator[Hub]:
    """JupyterHub of the same platform; it runs to the end, so that the last tests search and stop it too."""
    hub = Hub.start(platform)
    yield hub
    hub.remove_unix_users()


@pytest.fixture(scope="session")
def registered(platform: Platform) -> dict[str, Any]:
    """``{name, version, digest}`` of the reader's model, its alias ``champion``."""
    return guest.register(platform, alias="champion")


@pytest.fixture(scope="session")
def walkers(platform: Platform, registered: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reader's SeldonDeployment, Available; the answer is the image folder with the reader's class."""
    folder = guest.write_image_folder(tmp_path_factory.mktemp("reader"))
    platform.slipway("image", "build", f"{guest.IMAGE}:1", str(folder))
    guest.create_namespace(platform)
    platform.apply(guest.manifest())
    platform.wait_available(guest.NAME, guest.NAMESPACE)
    return folder


@pytest.fixture(scope="module")
def variables(platform: Platform) -> Iterator[dict[str, str]]:
    """What a data scientist's shell or notebook has in its environment; this process has it too."""
    wanted = {
        **load_model_credentials(platform.paths),
        "KUBECONFIG": str(platform.paths.kubeconfig),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "SLIPWAY_GATEWAY": platform.gateway,
    }
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*Any type hint is inferred as AnyType", category=UserWarning)
        import mlflow.pyfunc  # noqa: F401  - its first import warns of a type hint of its own

        patch.setattr(boto3, "DEFAULT_SESSION", None)  # it remembers keys
        for name, value in wanted.items():
            patch.setenv(name, value)
        yield wanted
