"""What every Pod of one machine shares: folders, images, addresses, the API, the objects Pods refer to."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from slipway.kube.client import Kube
from slipway.onebox.images.store import Store
from slipway.onebox.paths import Paths
from slipway.onebox.runner.addresses import Addresses
from slipway.onebox.runner.events import Events
from slipway.onebox.runner.first_use import FirstUse
from slipway.onebox.runner.references import Sources


@dataclass(frozen=True)
class Machine:
    """``sources`` answers the ConfigMaps and Secrets as they are now; ``has_namespaces``: mount namespaces work here."""

    paths: Paths
    kube: Kube
    store: Store
    addresses: Addresses
    events: Events
    session: aiohttp.ClientSession
    sources: Callable[[], Sources]
    has_namespaces: bool
    first_use: FirstUse

    @property
    def claims(self) -> Path:
        return self.paths.data("claims")


def memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
