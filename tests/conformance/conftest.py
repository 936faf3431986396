"""The official ``seldon-core-microservice`` 1.17.1 and ours, side by side with the same component class."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path

import pytest

from tests.conformance.servers import OFFICIAL, OFFICIAL_STARTS, Server, official_command, our_command
from tests.conformance.verdicts import BETTER, MARK
from tests.data import REPOSITORY

COMPONENTS = Path(__file__).parent / "components"
COMMANDS = {"seldon-core-microservice": "start_official", "slipway.microservice": "start_ours"}
"""Start command → the fixture that runs it."""

Start = Callable[..., Server]
Serve = Callable[..., Server]


@pytest.fixture(scope="module")
def start_official(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """``start_official(interface, folder)``: a class below ``folder`` under the official server."""
    if not (OFFICIAL / "seldon-core-microservice").exists():
        pytest.fail(f"{OFFICIAL} does not exist: run tests/conformance/environment")
    yield from _starter(official_command, tmp_path_factory, {}, starts=OFFICIAL_STARTS)


@pytest.fixture(scope="module")
def start_ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """The same under our server."""
    yield from _starter(our_command, tmp_path_factory, {"PYTHONPATH": str(REPOSITORY)})


def _starter(
    command: Callable[[Mapping[str, str]], list[str]],
    folders: pytest.TempPathFactory,
    own: Mapping[str, str],
    starts: int = 1,
) -> Iterator[Start]:
    running: list[Server] = []

    def start(interface: str, folder: Path, *flags: str, **environment: str) -> Server:
        argv = [*command(environment), interface, *flags]
        log = folders.mktemp("server") / "log"
        server = Server(argv, folder=folder, log=log, environment={**own, **environment}, starts=starts)
        running.append(server)
        return running[-1]

    yield start
    for server in running:
        server.end()


@pytest.fixture(scope="module", params=COMMANDS)
def start(request: pytest.FixtureRequest) -> Start:
    """``start(interface, folder, *flags, **environment)`` with one start command after the other."""
    found: Start = request.getfixturevalue(COMMANDS[request.param])
    return found


@pytest.fixture(scope="module")
def serve(start: Start) -> Serve:
    """``serve("rows.Echo")``: a ready server of a class of ``components``, one for each class and environment."""
    ready: dict[object, Server] = {}

    def serving(interface: str, *flags: str, **environment: str) -> Server:
        key = (interface, flags, *sorted(environment.items()))
        if key not in ready:
            ready[key] = start(interface, COMPONENTS, *flags, **environment)
            ready[key].wait_ready()
        return ready[key]

    return serving


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """A test marked ``better`` has to fail against 1.17.1, by an assertion of its own."""
    mark = pyfuncitem.get_closest_marker(MARK)
    if mark is None or mark.args[1] != BETTER or "seldon-core-microservice" not in pyfuncitem.callspec.params.values():
        return (yield)
    try:
        yield
    except AssertionError:
        return True
    pytest.fail(f"row {mark.args[0]} is marked better, but seldon-core-microservice 1.17.1 passes this test too")
