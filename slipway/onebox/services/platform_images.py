"""The images that the platform ships, built from the sources as they are.

At its start those that every Pod of ours needs (the executor and the storage initializer) and those of prepackaged
servers that were used before; others by name.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import slipway
from slipway.contract.predictor_servers import SHIPPED
from slipway.onebox.images.build import PLATFORM_ROOT, ensure
from slipway.onebox.images.errors import ImageError
from slipway.onebox.images.reference import parse_reference
from slipway.onebox.images.store import Store
from slipway.onebox.paths import Paths

NAMES = ("slipway/executor", "slipway/storage-initializer")


def wanted_at_start(paths: Paths) -> list[str]:
    """``NAME:TAG`` of what is built, or built anew where its sources changed, before any Pod runs."""
    store = Store(paths)
    servers = [parse_reference(image) for image in sorted(SHIPPED.values())]
    used = [str(server) for server in servers if store.tag_file(server.name, server.tag).is_file()]
    return [*(f"{name}:{slipway.__version__}" for name in NAMES), *used]


def main() -> int:
    """Build images of the platform, where they are not built yet."""
    parser = argparse.ArgumentParser(prog="python -m slipway.onebox.services.platform_images", description=main.__doc__)
    parser.add_argument("--home", type=Path, required=True, help="SLIPWAY_HOME")
    parser.add_argument("images", nargs="*", metavar="NAME:TAG", help="default: those of every start")
    given = parser.parse_args()
    paths = Paths(given.home.absolute())
    try:
        ensure(given.images or wanted_at_start(paths), paths, repository=PLATFORM_ROOT, progress=print)
    except ImageError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
