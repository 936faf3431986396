"""The repository keeps its own rules."""

from __future__ import annotations

import re
import subprocess

from tests.data import REPOSITORY

FORBIDDEN = re.compile(r"py[p]i\.org|python[h]osted|np[m]js\.(?:org|com)|deb\.debian\.|/wor[k]/|/far[m]/")


def tracked_files() -> list[str]:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, check=True, text=True)
    return [name for name in listing.stdout.split("\0") if name]


def test_tracked_files_name_no_registry_host_and_no_machine_path() -> None:
    offenders = []
    for name in tracked_files():
        try:
            text = (REPOSITORY / name).read_text()
        except (UnicodeDecodeError, FileNotFoundError):  # binary, or removed in the working tree
            continue
        if FORBIDDEN.search(text):
            offenders.append(name)
    assert not offenders
