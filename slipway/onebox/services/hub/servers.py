"""The processes of users' servers, found by their mark: a killed hub leaves them behind."""

from __future__ import annotations

from slipway.onebox.paths import Paths
from slipway.onebox.runner.process import kill_marked
from slipway.onebox.services.hub.names import CULLER, server_mark


def kill_left_servers(paths: Paths) -> None:
    """End what a stopping hub would have ended itself, and what its users started beside their kernels."""
    users = [folder.name for folder in paths.hub_homes.glob("*/")]
    for name in (*users, CULLER):
        kill_marked(server_mark(paths, name))
