"""The repository keeps its own rules."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.data import REPOSITORY

FORBIDDEN = re.compile(r"py[p]i\.org|python[h]osted|np[m]js\.(?:org|com)|deb\.debian\.|/wor[k]/|/far[m]/")


def tracked_files() -> list[str]:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, check=True, text=True)
    return [name for name in listing.stdout.split("\0") if name]


def present_files(folder: Path = REPOSITORY) -> list[str]:
    """What git has or would take: a file that is not committed yet counts, one that it ignores or that is gone does not."""
    argv = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"]
    listing = subprocess.run(argv, cwd=folder, capture_output=True, check=True, text=True)
    return [name for name in listing.stdout.split("\0") if name and (folder / name).is_file()]


def test_a_file_that_is_not_committed_yet_is_present_and_an_ignored_one_is_not(tmp_path: Path) -> None:
    def git(*words: str) -> None:
        subprocess.run(["git", *words], cwd=tmp_path, check=True, capture_output=True)

    git("init")
    for name in ("committed", "gone", "new", "ignored"):
        (tmp_path / name).write_text("")
    (tmp_path / ".gitignore").write_text("ignored\n")
    git("add", "committed", "gone", ".gitignore")
    (tmp_path / "gone").unlink()
    assert sorted(present_files(tmp_path)) == [".gitignore", "committed", "new"]


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
