"""What of a home a backup holds, as values: folders and files in the order in which they are copied."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from slipway.onebox.backup.names import API, DUMPS, HUB_DATABASE, SETTINGS, USERS
from slipway.onebox.paths import Paths

DRAFTS = re.compile(
    r"(environments|images/sha256|hub/proxy)/[^/]+\.(tmp|lock|txt)"  # of images that are being built
    r"|(secrets|hub/homes)/\.[^/]*"
    r"|images/tags/[^/]+/\.[^/]*"
)
INTERPRETER = re.compile(r"environments/[^/]+/bin/python")
"""A link to the machine's Python: a restore makes it anew."""


@dataclass(frozen=True)
class Part:
    """``place`` (a file or a folder) is ``name`` in the backup."""

    name: str
    place: Path
    with_xattrs: bool = False


def parts_of(paths: Paths, scratch: Path, *, with_environments: bool) -> list[Part]:
    """``scratch`` has what had to be held still. Of users' files their owners' numbers come later than the files.

    Tags before images before environments, because each is there before what names it.
    """
    held = (API, DUMPS, HUB_DATABASE)
    live = ("secrets", SETTINGS, "data/claims", "hub/homes", USERS, "hub/jupyterhub_config.py")
    images = ("images/tags", "images/sha256", *(("environments", "hub/proxy") if with_environments else ()))
    return [
        *(Part(name, scratch / name) for name in held),
        Part("data/s3/devices", scratch / "data/s3/devices", with_xattrs=True),
        *(Part(name, paths.home / name) for name in (*live, *images)),
    ]


def is_kept(name: str) -> bool:
    """Whether it is more than a draft, or a lock, of something that is being made."""
    return DRAFTS.fullmatch(name) is None
