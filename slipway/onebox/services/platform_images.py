"""The images every Pod of ours needs: the executor and the storage initializer, built from the sources as they are."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import slipway
from slipway.onebox.images.build import PLATFORM_ROOT, ensure
from slipway.onebox.images.errors import ImageError
from slipway.onebox.paths import Paths

NAMES = ("slipway/executor", "slipway/storage-initializer")


def main() -> int:
    """Build the platform's images, where they are not built yet."""
    parser = argparse.ArgumentParser(prog="python -m slipway.onebox.services.platform_images", description=main.__doc__)
    parser.add_argument("--home", type=Path, required=True, help="SLIPWAY_HOME")
    paths = Paths(parser.parse_args().home.absolute())
    names = [f"{name}:{slipway.__version__}" for name in NAMES]
    try:
        ensure(names, paths, repository=PLATFORM_ROOT, progress=print)
    except ImageError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
