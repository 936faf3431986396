"""The supervisor of one home, as `slipway up` starts it in the background."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import time
from pathlib import Path

from slipway.onebox.descriptors import allow_many_files
from slipway.onebox.paths import Paths
from slipway.onebox.services.platform import build_specs
from slipway.onebox.services.secrets import ensure_secrets
from slipway.onebox.services.wanted import Answer, load_wish, save_answer
from slipway.onebox.settings import SettingsError, load_settings
from slipway.onebox.supervisor.control import sole_supervisor
from slipway.onebox.supervisor.errors import SupervisorError
from slipway.onebox.supervisor.loop import Desired, Supervisor

UMASK = 0o077  # state, logs and sockets are their owner's only


def load_desired(paths: Paths) -> Desired:
    """Raises SupervisorError where a file it is read from cannot be."""
    try:
        wish = load_wish(paths)
        specs = build_specs(paths, load_settings(paths.settings), ensure_secrets(paths.secrets), wish)
    except (OSError, ValueError, LookupError, SettingsError) as error:
        raise SupervisorError(f"what is wanted cannot be read: {error}") from error
    fingerprints = {spec.name: spec.fingerprint for spec in specs}
    answer = Answer(wish.number, fingerprints)
    return Desired(specs, wish.names & fingerprints.keys(), on_taken=lambda: save_answer(paths, answer))


def say(line: str) -> None:
    with contextlib.suppress(OSError):  # the log's disk is full: there is nowhere to say so
        print(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {line}", flush=True)


def main() -> int:
    """Keep the wanted processes of SLIPWAY_HOME running; HUP reads again what is wanted, TERM stops all in reverse."""
    parser = argparse.ArgumentParser(prog="python -m slipway.onebox.services", description=main.__doc__)
    parser.add_argument("--home", type=Path, required=True, help="SLIPWAY_HOME")
    paths = Paths(parser.parse_args().home.absolute())
    os.umask(UMASK)
    allow_many_files()  # of every process that it starts: each would be full at some 1000 connections
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # what it would say is read when the loop starts: a wish comes first
    try:
        with sole_supervisor(paths.run) as is_sole:
            if is_sole:
                _supervise(paths)
            else:
                say("another supervisor serves this home: nothing to do")
    except SupervisorError as error:
        say(str(error))
        return 1
    return 0


def _supervise(paths: Paths) -> None:
    say(f"supervisor pid {os.getpid()} of {paths.home}")
    supervisor = Supervisor(load=lambda: load_desired(paths), run=paths.run, logs=paths.logs, say=say)
    asyncio.run(supervisor.run())
    say("everything stopped")


if __name__ == "__main__":
    sys.exit(main())
