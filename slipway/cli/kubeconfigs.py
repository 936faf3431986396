"""Which kubeconfig a command reads: those of KUBECONFIG; else that of SLIPWAY_HOME; else what the user or the Pod has."""

from __future__ import annotations

import os

from slipway.kube.access import Access
from slipway.kube.errors import ConfigError
from slipway.kube.kubeconfig import load_access
from slipway.onebox.paths import Paths


def find_access(context: str | None = None) -> Access:
    """Where the API is. A ``context`` is looked for in the kubeconfig of SLIPWAY_HOME first, then in ``~/.kube/config``.

    Raises ConfigError, which names every file that was looked into.
    """
    mine = Paths.from_env().kubeconfig
    if os.environ.get("KUBECONFIG") or not mine.exists():
        return load_access(context=context)
    try:
        return load_access(mine, context=context)
    except ConfigError as not_mine:
        if context is None:
            raise
        try:
            return load_access(context=context)
        except ConfigError as exc:
            raise ConfigError(f"{not_mine}; {exc}") from exc
