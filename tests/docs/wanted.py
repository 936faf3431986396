"""What objects ask for beside themselves: Secrets that they read, images that they run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from slipway.controller.settings import Settings
from tests.docs.kubectl import Object
from tests.docs.world import World

OWN_IMAGE = re.compile(r"(?<![\w./-])slipway/([a-z-]+):[0-9.]+")


def secrets_missing(world: World) -> set[tuple[str, str]]:
    """(namespace, name) of each Secret that something reads and nothing makes.

    The controller copies its own into every namespace where models run.
    """
    exist = {(namespace, name) for namespace, kind, name in world.objects if kind == "secret"}
    home, copied = Settings().default_model_secret
    read = {(item["metadata"].get("namespace", ""), name) for item in world.whole for name in _secrets_read(item)}
    return {(namespace, name) for namespace, name in read - exist if name != copied or namespace == home}


def images_used(objects: Iterable[Object], *, but: Iterable[str] = ()) -> set[str]:
    """Folders below `images/` of what runs, without the images named in ``but``."""
    return set(OWN_IMAGE.findall(repr(list(objects)))) - {found for text in but for found in OWN_IMAGE.findall(text)}


def _secrets_read(value: object) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _secrets_read(item)
    if isinstance(value, dict):
        for ref in (value.get("secretKeyRef"), value.get("secretRef"), value.get("secret")):
            if isinstance(ref, dict) and not ref.get("optional"):
                yield from (ref[key] for key in ("name", "secretName") if key in ref)
        for item in value.values():
            yield from _secrets_read(item)
