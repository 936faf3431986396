"""Which names a backup may hold, and where a link in it may point. All names are relative to SLIPWAY_HOME."""

from __future__ import annotations

from pathlib import PurePosixPath

MAX_NAME_BYTES = 4096
MAX_PART_BYTES = 255
MAX_PARTS = 256
"""Of one name: each folder on the way is open while what is below it is copied."""
HEADER = "slipway-backup.json"
MANIFEST = "manifest.jsonl"
API = "api/objects.sqlite"
DUMPS = "postgres"
HUB_DATABASE = "data/hub/jupyterhub.sqlite"
SETTINGS = "settings.json"
USERS = "hub/users.json"
FILES = frozenset({HEADER, MANIFEST, API, HUB_DATABASE, SETTINGS, USERS, "hub/jupyterhub_config.py"})
AREAS = {  # folder → how many parts of a name below it are one owner's: links may not leave that
    "data/claims": 1,
    "data/s3/devices": 1,
    "environments": 1,
    "hub/homes": 1,
    "hub/proxy": 1,
    "images/sha256": 1,
    "images/tags": 1,
    DUMPS: 0,
    "secrets": 0,
}


def area_of(name: str) -> str | None:
    """The folder in which links of ``name`` must stay; None where a backup holds no such name."""
    for folder, depth in AREAS.items():
        if name == folder or name.startswith(f"{folder}/"):
            own = name.removeprefix(folder).strip("/").split("/")[:depth]
            return "/".join((folder, *own)).rstrip("/")
    return None


def refusal_of_name(name: str) -> str:
    """Why no backup has a member of this name; empty for a good one."""
    raw = name.encode("utf-8", "surrogateescape")
    parts = name.split("/")
    if not name or "\0" in name or len(raw) > MAX_NAME_BYTES:
        return f"a name of 1 to {MAX_NAME_BYTES} bytes is expected"
    if any(part in ("", ".", "..") or len(part.encode("utf-8", "surrogateescape")) > MAX_PART_BYTES for part in parts):
        return "a path that stays below the home is expected: no '..', nothing absolute"
    if len(parts) > MAX_PARTS:
        return f"more than {MAX_PARTS} folders deep"
    if name in FILES or area_of(name) is not None or _leads_to_one(name):
        return ""
    return "not a part of a home that a backup holds"


def _leads_to_one(name: str) -> bool:
    return any(other.startswith(f"{name}/") for other in (*FILES, *AREAS))


def link_stays(name: str, target: str) -> bool:
    """Whether a symbolic link called ``name`` can only lead to where its owner's files are.

    ``..`` may only come first: after another link's name it would mean that link's parent, wherever that is.
    """
    area = area_of(name)
    if area is None or name == area or not target or target.startswith("/") or "\0" in target:
        return False
    parts = PurePosixPath(target).parts
    ups = next((index for index, part in enumerate(parts) if part != ".."), len(parts))
    depth = name.count("/") - area.count("/") - 1  # folders between the area and the link
    return ".." not in parts[ups:] and ups <= depth
