"""The storage initializer: ``python -m slipway.storage URI FOLDER`` fills a Pod's model volume."""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import shutil
import sys
import time
from pathlib import Path

from slipway.registry import RegistryAddress, RegistryError, is_model_reference, parse_model_reference, resolve
from slipway.storage.cache import ModelCache
from slipway.storage.checksums import SUMS_NAME, parse_sums
from slipway.storage.errors import DigestNeeded, StorageError
from slipway.storage.fetch import SCHEMES, Fetched, Wanted, fetch
from slipway.storage.s3 import Progress

PROVENANCE_NAME = ".slipway-model.json"
PROGRESS_EVERY_S = 2.0
COLLECT_AFTER = 100_000
"""New objects between two searches for garbage: botocore's description of S3, which stays, would be searched over and over."""


def main() -> int:
    """Exit codes: 0 the folder is filled and verified, 1 it is not, 2 the call is wrong."""
    gc.set_threshold(COLLECT_AFTER)
    parser = argparse.ArgumentParser(prog="python -m slipway.storage", description=__doc__)
    parser.add_argument("uri", help=SCHEMES)
    parser.add_argument("folder", type=Path, help="where the files go, e.g. /mnt/models")
    arguments = parser.parse_args()
    logging.basicConfig(format="%(message)s")
    try:
        wanted = _wanted(arguments.uri)
        cache = ModelCache(Path(os.environ.get("SLIPWAY_MODEL_CACHE", arguments.folder / ".cache")))

        def use(found: Fetched) -> None:
            refuse_unsigned(found, wanted, node=os.environ.get("SLIPWAY_UNPICKLED_BY", ""))
            fill(arguments.folder, found, wanted)

        fetched = fetch(wanted, cache, progress=_progress_lines(wanted.uri), use=use)
    except (StorageError, RegistryError) as exc:
        print(f"refused: {exc}", file=sys.stderr)
        return 1
    except OSError as exc:  # a full disk, a cache of another user
        print(f"failed: {arguments.uri}: {exc}", file=sys.stderr)
        return 1
    print(f"{wanted.uri}: {fetched.digest} {fetched.note}")
    return 0


def _wanted(uri: str) -> Wanted:
    """The controller resolved a models:/ URI already; by hand, the registry is asked here."""
    source = os.environ.get("SLIPWAY_MODEL_SOURCE")
    if source:
        return Wanted(uri, source, os.environ.get("SLIPWAY_MODEL_DIGEST") or None)
    if not is_model_reference(uri):
        return Wanted(uri, uri, os.environ.get("SLIPWAY_MODEL_DIGEST") or None)
    registry = RegistryAddress.from_env()
    if registry is None:
        raise StorageError(f"{uri}: set MLFLOW_TRACKING_URI, or SLIPWAY_MODEL_SOURCE to the place it resolves to")

    import asyncio  # a Pod does without these two, a quarter of its start: the controller has asked

    import aiohttp

    async def ask() -> Wanted:
        async with aiohttp.ClientSession() as session:
            model = await resolve(uri, registry=registry, session=session)
        return Wanted(model.uri, model.source, model.digest)

    return asyncio.run(ask())


def refuse_unsigned(fetched: Fetched, wanted: Wanted, *, node: str) -> None:
    """``node`` (``predictor/node``): who unpickles what was fetched without a digest to compare with; empty: nobody.

    Raises DigestNeeded with the line that would allow it.
    """
    if not node or wanted.digest:
        return
    predictor, _, name = node.partition("/")
    raise DigestNeeded(
        f"{wanted.uri}: a pickle runs code when it is loaded, and this one is not from the registry. If you trust it, "
        f'add to the annotations of predictor {predictor}: slipway.dev/model-sha256: "{name}={fetched.digest}"'
    )


def fill(folder: Path, fetched: Fetched, wanted: Wanted) -> None:
    """Hard-link (or copy, across file systems) the listed files into ``folder``, no others, and say what they are."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in (SUMS_NAME, *parse_sums((fetched.folder / SUMS_NAME).read_bytes())):
        path, target = fetched.folder / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        try:
            os.link(path, target)
        except OSError:  # another file system
            shutil.copyfile(path, target)
    provenance = folder / PROVENANCE_NAME
    provenance.unlink(missing_ok=True)  # a listed file of that name would be the cache's own
    provenance.write_text(json.dumps(_provenance(fetched, wanted)))


def _provenance(fetched: Fetched, wanted: Wanted) -> dict[str, str]:
    """``{name, version, digest, uri}``; a place without a registered name is named by its last folder."""
    if is_model_reference(wanted.uri):
        reference = parse_model_reference(wanted.uri)
        name, version = reference.name, reference.version or ""
    else:
        name, version = wanted.uri.rstrip("/").rpartition("/")[2], ""
    return {"name": name, "version": version, "digest": fetched.digest, "uri": wanted.uri}


def _progress_lines(uri: str) -> Progress:
    """A line now and then: the output is a Pod's log, not a terminal."""
    last = time.monotonic()

    def show(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last > PROGRESS_EVERY_S:
            last = time.monotonic()
            print(f"{uri}: {done:,} of {total:,} bytes ({100 * done // max(total, 1)} %)", flush=True)

    return show


if __name__ == "__main__":
    sys.exit(main())
