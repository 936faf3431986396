"""The end of users' servers: what a user started beside a kernel, what a killed hub leaves."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from slipway.onebox.paths import Paths
from slipway.onebox.runner.marks import kill_marked
from slipway.onebox.services.hub.belongings import end_all
from slipway.onebox.services.hub.names import SERVICES, service_mark
from slipway.onebox.services.hub.running import HUB_ITSELF, forget_running, load_running


def end_server(paths: Paths, user: str) -> None:
    """Everything that was started in it."""
    end_all(paths, user)
    forget_running(paths, user)


def end_services(paths: Paths) -> None:
    """The hub's own, which a killed hub leaves."""
    for name in SERVICES:
        kill_marked(service_mark(paths, name))


def end_left_servers(paths: Paths) -> None:
    """What a stopping hub would have ended itself."""
    end_services(paths)
    for running in load_running(paths):
        if running.name != HUB_ITSELF:
            end_server(paths, running.name)
    forget_running(paths, HUB_ITSELF)


def main() -> int:
    """End everything that was started in a hub user's server."""
    parser = argparse.ArgumentParser(prog="python -m slipway.onebox.services.hub.servers", description=main.__doc__)
    parser.add_argument("--home", type=Path, required=True, help="SLIPWAY_HOME")
    parser.add_argument("--user", required=True)
    given = parser.parse_args()
    end_server(Paths(given.home.absolute()), given.user)
    return 0


if __name__ == "__main__":
    sys.exit(main())
