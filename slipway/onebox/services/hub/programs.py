"""Which image and which programs the hub is made of, and where they lie once `slipway up --with hub` installed them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import slipway
from slipway.onebox.images.store import Image, Store
from slipway.onebox.paths import Paths

IMAGE = "slipway/jupyterhub"
TAG = f"{IMAGE}:{slipway.__version__}"
LOCK = "package-lock.json"
NPM_FILES = ("package.json", LOCK, ".npmrc")


@dataclass(frozen=True)
class Programs:
    """``proxy`` is configurable-http-proxy's script, which ``node`` runs."""

    root: Path
    environment: Path
    proxy: Path

    @property
    def python(self) -> Path:
        return self.environment / "bin" / "python"

    @property
    def node(self) -> Path:
        return self.environment / "bin" / "node"


def find_image(paths: Paths) -> Image:
    """JupyterHub's.

    Raises:
        NotBuilt: it was never built.
    """
    return Store(paths).resolve(TAG)


def find_programs(paths: Paths) -> Programs:
    """What is installed now.

    Raises:
        NotBuilt: the hub's image was never built.
    """
    store, image = Store(paths), find_image(paths)
    return Programs(store.root(image), store.environment(image), proxy_folder(paths, image) / PROXY_SCRIPT)


PROXY_SCRIPT = Path("node_modules", "configurable-http-proxy", "bin", "configurable-http-proxy")


def proxy_folder(paths: Paths, image: Image) -> Path:
    """Named after the lock file, so that another lock file is another folder."""
    lock = (Store(paths).root(image) / LOCK).read_bytes()
    return paths.hub_proxy / hashlib.sha256(lock).hexdigest()
