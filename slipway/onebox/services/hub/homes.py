"""A hub user's home: made once, filled with what one starts from, the user's own where we are root."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from slipway.onebox.services.hub.accounts import kubeconfig_of
from slipway.onebox.services.hub.identity import Identity
from slipway.onebox.services.hub.ownership import acting_as
from slipway.onebox.services.secrets import write_private

FIRST_SUFFIXES = frozenset({".ipynb", ".yaml"})
"""Of the files that a new home has: whatever else somebody has in those folders is nobody else's."""


def ensure_home(home: Path, *, owner: Identity | None, first_folders: Sequence[Path]) -> None:
    """Make the home (0700). A new one gets each folder's FIRST_SUFFIXES; later nothing is added or overwritten."""
    if not home.exists():
        draft = home.with_name(f".{home.name}")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700, parents=True)
        for folder in first_folders:
            for file in folder.glob("*"):
                if file.suffix in FIRST_SUFFIXES and file.is_file():
                    (draft / folder.name).mkdir(exist_ok=True)
                    shutil.copyfile(file, draft / folder.name / file.name)
        for path in draft.rglob("*"):
            path.chmod(0o700 if path.is_dir() else 0o600)
        if owner is not None:
            for path in (draft, *draft.rglob("*")):
                os.chown(path, owner.uid, owner.uid)
        draft.rename(home)
    home.chmod(0o700)


def write_kubeconfig(home: Path, kubeconfig: dict[str, Any], *, owner: Identity | None) -> None:
    """``~/.kube/config``, for the user only. Written as the user, who may have put links where we write."""
    text = yaml.safe_dump(kubeconfig, sort_keys=False)
    with acting_as(owner):
        write_private(kubeconfig_of(home), text)
