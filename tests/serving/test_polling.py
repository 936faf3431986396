"""gRPC polls its sockets itself, in every process that we start."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from slipway.serving.polling import DIRECT_POLLING, GRPC_EXPERIMENTS, poll_directly

UNKNOWN = "Unknown experiment"


def errors_of(*command: str, experiments: str | None = None) -> str:
    environment = {name: value for name, value in os.environ.items() if name != GRPC_EXPERIMENTS}
    if experiments is not None:
        environment[GRPC_EXPERIMENTS] = experiments
    begun = subprocess.run(
        [sys.executable, *command], env=environment, capture_output=True, text=True, check=True, timeout=50
    )
    return begun.stderr


def test_grpc_knows_the_switches_that_it_is_started_with() -> None:
    assert UNKNOWN in errors_of("-c", "import grpc", experiments="-nonsense")
    assert UNKNOWN not in errors_of("-c", "import grpc", experiments=DIRECT_POLLING)


@pytest.mark.parametrize("server", ["slipway.executor", "slipway.microservice"])
def test_switches_are_chosen_before_grpc_is_imported(server: str) -> None:
    swapped = (
        "import runpy, sys; import slipway.serving.polling as polling; polling.DIRECT_POLLING = '-nonsense'; "
        f"sys.argv = ['{server}', '--help']\n"
        f"try: runpy.run_module('{server}', run_name='__main__')\n"
        "except SystemExit as end: sys.exit(end.code)"
    )
    assert UNKNOWN in errors_of("-c", swapped)


@pytest.mark.parametrize(
    ("given", "used"), [({}, DIRECT_POLLING), ({GRPC_EXPERIMENTS: "chosen"}, "chosen"), ({GRPC_EXPERIMENTS: ""}, "")]
)
def test_switches_of_the_environment_stay(given: dict[str, str], used: str) -> None:
    environment = dict(given)
    poll_directly(environment)
    assert environment == {GRPC_EXPERIMENTS: used}
