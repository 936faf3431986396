"""What an installed package says of itself (entry points, version), for images that carry a copy of its sources."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from pathlib import Path

NAMES = ("METADATA", "entry_points.txt")


def distribution_files(package: str) -> Iterator[tuple[str, Path]]:
    """(path below the image root, file) of the ``.dist-info`` of the distribution that has the package's name.

    Beside the copied sources Python finds them like an installation's: ``mlflow deployments`` knows its target
    ``slipway`` by them. Nothing where no distribution has that name.
    """
    try:
        listed = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError:
        return
    for file in listed:
        if len(file.parts) == 2 and file.parts[0].endswith(".dist-info") and file.name in NAMES:
            yield file.as_posix(), Path(file.locate())
