"""The processes of users' servers, found by their mark: what a user started beside a kernel, what a killed hub leaves."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from slipway.onebox.paths import Paths
from slipway.onebox.runner.process import kill_marked
from slipway.onebox.services.hub.names import CULLER, server_mark


def kill_left_servers(paths: Paths) -> None:
    """End what a stopping hub would have ended itself."""
    users = [folder.name for folder in paths.hub_homes.glob("*/")]
    for name in (*users, CULLER):
        kill_marked(server_mark(paths, name))


def main() -> int:
    """End everything that was started in a hub user's server."""
    parser = argparse.ArgumentParser(prog="python -m slipway.onebox.services.hub.servers", description=main.__doc__)
    parser.add_argument("--home", type=Path, required=True, help="SLIPWAY_HOME")
    parser.add_argument("--user", required=True)
    given = parser.parse_args()
    kill_marked(server_mark(Paths(given.home.absolute()), given.user))
    return 0


if __name__ == "__main__":
    sys.exit(main())
