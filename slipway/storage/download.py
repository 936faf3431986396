"""Download one file whose size and digest are known; go on where an earlier try stopped."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from http.client import HTTPException
from pathlib import Path

from slipway.storage.catalog import PublicFile
from slipway.storage.checksums import sha256_of

CONNECT_TIMEOUT_S = 15.0
READ_BYTES = 256 * 1024


class DownloadError(Exception):
    """No address gave the file, or it gave other bytes."""


def download(file: PublicFile, urls: Sequence[str], target: Path, *, progress: Callable[[int], None]) -> None:
    """``file`` at ``target``, verified. Nothing is left at ``target`` unless its digest is right.

    ``progress`` gets the number of bytes just gained. A broken transfer leaves ``<target>.part`` to be resumed.
    """
    if target.is_file() and sha256_of(target) == file.sha256:
        progress(file.size_bytes)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    failures = []
    for url in urls:
        try:
            _resume(url, part, file.size_bytes, progress=progress)
        except (OSError, HTTPException) as exc:  # URLError is an OSError
            failures.append(f"{url}: {exc}")
            continue
        found = sha256_of(part)
        if found == file.sha256:
            part.replace(target)
            return
        part.unlink()
        failures.append(f"{url}: expected sha256:{file.sha256}, found sha256:{found}")
    raise DownloadError(f"{file.name}: " + "; ".join(failures))


def _resume(url: str, part: Path, size_bytes: int, *, progress: Callable[[int], None]) -> None:
    """Bring ``part`` to ``size_bytes``; a server that ignores the range starts over."""
    have = part.stat().st_size if part.exists() else 0
    if have > size_bytes:
        part.unlink()
        have = 0
    if have == size_bytes:
        progress(have)
        return
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})  # noqa: S310  - table's
    with urllib.request.urlopen(request, timeout=CONNECT_TIMEOUT_S) as response:  # noqa: S310  - or the user's own URL
        resumed = response.status == 206
        with part.open("ab" if resumed else "wb") as out:
            if resumed:
                progress(have)
            while out.tell() < size_bytes and (chunk := response.read(READ_BYTES)):
                out.write(chunk[: size_bytes - out.tell()])
                progress(len(chunk))
    if part.stat().st_size != size_bytes:
        raise OSError(f"expected {size_bytes} bytes, found {part.stat().st_size}")
