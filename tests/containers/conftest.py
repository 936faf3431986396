"""Images built, a Pod's network, and in it a platform whose registry and S3 the Pod reads its model from."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.images import BUILD_TIMEOUT_S
from slipway import __version__
from slipway.onebox.images.store import remove_tree
from slipway.onebox.paths import SOCKETS
from slipway.onebox.runner.references import Sources
from tests.containers.docker import BASE, BUILD, Docker, daemon, lacking
from tests.containers.network import sandbox
from tests.containers.node import Node
from tests.containers.once import pytest_runtest_makereport
from tests.data import REPOSITORY
from tests.e2e.platform import Platform

__all__ = ["pytest_runtest_makereport"]
IMAGES = ("executor", "image-transformer", "yolo-detector", "storage-initializer", "controller")
PORTS = (8090, 8001, 5000, 8333)
"""Free: the network is new. A controller in a container shows its health on 8080."""


@pytest.fixture(scope="session")
def docker() -> Iterator[Docker]:
    """With ``BASE`` and ``BUILD``. Whoever cannot have it is told what is missing: these tests fail, they are not skipped."""
    if missing := lacking():
        pytest.fail(missing)
    work = Path(tempfile.mkdtemp(prefix="slipway-containers-", dir=SOCKETS))
    try:
        with daemon(work) as docker:
            docker.import_base(work)
            yield docker
    finally:
        shutil.rmtree(work)  # root needs no modes: some hundred thousand files are not looked at twice


@pytest.fixture(scope="session")
def bills(docker: Docker, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The images are built, as `make images` builds them; the folder of their bills of materials."""
    folder = tmp_path_factory.mktemp("bills")
    argv = [sys.executable, "-m", "scripts.images", *IMAGES, "--engine", "docker", "--bills", str(folder)]
    argv += ["--base-image", BASE, "--build-image", BUILD, "--", "--network", "host"]
    done = subprocess.run(
        argv,
        cwd=REPOSITORY,
        env=docker.environment,
        capture_output=True,
        text=True,
        timeout=BUILD_TIMEOUT_S,
        check=False,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def home() -> Iterator[Path]:
    """Of a platform, with what its start builds: it is started where no package index can be reached."""
    above = Path(tempfile.mkdtemp(prefix="slipway-containers-", dir=SOCKETS))
    home = above / "home"
    try:
        argv = [sys.executable, "-m", "slipway.onebox.services.platform_images", "--home", str(home)]
        subprocess.run(argv, cwd=REPOSITORY, check=True, timeout=BUILD_TIMEOUT_S)
        yield home
    finally:
        remove_tree(above)


@pytest.fixture(scope="session")
def network(docker: Docker, bills: Path, home: Path) -> Iterator[str]:
    """The name of a container; the tests that ask for it are in its network, and so is what they start."""
    assert bills.is_dir()
    assert home.is_dir()
    with sandbox(docker, name="sandbox", image=f"slipway/executor:{__version__}") as name:
        yield name


@pytest.fixture(scope="session")
def platform(network: str, home: Path) -> Iterator[Platform]:
    """PostgreSQL, MLflow and S3 of one machine, in the network of the Pods."""
    assert network
    platform = Platform(home, PORTS)
    try:
        platform.up()
        yield platform
    finally:
        platform.down()


@pytest.fixture
def node(docker: Docker, network: str, platform: Platform) -> Iterator[Node]:
    """With the secret that the controller of a cluster copies into a namespace."""
    secret = platform.get("secret", "slipway-model-storage", "slipway-system")
    folder = Path(tempfile.mkdtemp(prefix="slipway-volumes-"))
    folder.chmod(0o755)
    try:
        yield Node(
            docker,
            network,
            folder,
            Sources(secrets={("default", "slipway-model-storage"): secret}, cpus=os.cpu_count() or 1),
        )
    finally:
        shutil.rmtree(folder)
