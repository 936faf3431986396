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

LEFT_OUT = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints", ".*", "*.pyc")


def ensure_home(home: Path, *, owner: Identity | None, first_folders: Sequence[Path]) -> None:
    """Make the home (0700). Each folder is copied into a new one, by its name; later nothing is added or overwritten."""
    if not home.exists():
        draft = home.with_name(f".{home.name}")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700, parents=True)
        for folder in first_folders:
            if folder.is_dir():
                shutil.copytree(folder, draft / folder.name, ignore=LEFT_OUT)
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
