from __future__ import annotations

import ipaddress
import os
import socket
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from slipway.cli.main import main
from slipway.onebox.paths import Paths
from slipway.onebox.services.networks import choose_network, refuse_taken_network
from slipway.onebox.services.start import prepare
from slipway.onebox.settings import CLUSTER_NETWORKS, load_settings
from slipway.onebox.supervisor.errors import SupervisorError
from slipway.onebox.supervisor.procfs import listeners_in


@given(st.text())
def test_network_of_a_home_is_always_the_same_part_of_the_machines(home: str) -> None:
    network = choose_network(home, lambda _: False)
    assert network == choose_network(home, lambda _: False)
    assert network.subnet_of(CLUSTER_NETWORKS)
    assert network.num_addresses == 4096


def test_every_home_gets_a_network_of_its_own_until_none_is_left() -> None:
    used: list[ipaddress.IPv4Network] = []
    for _ in range(256):
        used.append(choose_network("/home", used.__contains__))
    assert not any(one.overlaps(other) for one, other in pairwise(sorted(used)))
    with pytest.raises(SupervisorError, match="256 platforms run on this machine: stop one"):
        choose_network("/home", used.__contains__)


def test_network_that_somebody_listens_in_is_left_to_them() -> None:
    free = choose_network("/home", lambda one: bool(listeners_in(one)))
    with socket.create_server((str(free[77]), 0)):
        assert listeners_in(free) == [os.getpid()]
        assert choose_network("/home", lambda one: bool(listeners_in(one))) != free
        refuse_taken_network(free, ours={os.getpid()})
        with pytest.raises(SupervisorError, match=rf"{free}, are in use by pid {os.getpid()} \(.*\): stop it"):
            refuse_taken_network(free, ours=())


def test_prepare_chooses_a_network_once_and_remembers_it(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    try:
        chosen = prepare(paths, {}).settings.cluster_network
        assert load_settings(paths.settings).cluster_network == chosen
        with socket.create_server((str(ipaddress.IPv4Network(chosen)[1]), 0)):
            assert prepare(paths, {}).settings.cluster_network == chosen
        other = Paths(tmp_path / "other")
        assert prepare(other, {}).settings.cluster_network != chosen
        other.sockets.rmdir()
    finally:
        paths.sockets.rmdir()


def test_up_on_another_platforms_gateway_port_is_refused_with_its_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an Envoy listens: the kernel would let a second one in."""
    paths = Paths(tmp_path)
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path))
    with socket.socket() as gateway, ExitStack() as stack:
        gateway.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        gateway.bind(("127.0.0.1", 0))
        gateway.listen()
        port = gateway.getsockname()[1]
        free = [stack.enter_context(socket.socket()) for _ in range(3)]  # bound, not listening: nobody else's now
        for one in free:
            one.bind(("127.0.0.1", 0))
        flags = zip(("--api-port", "--mlflow-port", "--s3-port"), (one.getsockname()[1] for one in free), strict=True)
        words = [word for flag, number in flags for word in (flag, str(number))]
        done = CliRunner().invoke(main, ["up", "--gateway-port", str(port), *words])
    paths.sockets.rmdir()
    assert done.exit_code == 1
    assert f"envoy-0: 127.0.0.1:{port} is taken by pid {os.getpid()} (" in done.output
    assert "stop it, or choose another port with --gateway-port" in done.output
    assert not list(paths.run.glob("*.json"))
