"""A certificate that somebody else renews, cert-manager say: files of a mounted Secret."""

from __future__ import annotations

from pathlib import Path

CERTIFICATE, KEY = "tls.crt", "tls.key"
MAX_PEM_BYTES = 1024 * 1024


def read_pair(folder: Path) -> tuple[bytes, bytes]:
    """Certificate and key, PEM. Raises OSError.

    A kubelet changes both at once (the folder is a link); two reads may still see one of each, which do not fit together:
    then the next look finds both.
    """
    return _read(folder / CERTIFICATE), _read(folder / KEY)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_PEM_BYTES)
