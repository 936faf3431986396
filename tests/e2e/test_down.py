"""The last word: ``slipway down`` leaves nothing behind, and ``slipway up`` afterwards brings everything back."""

from __future__ import annotations

from scripts.demo import photo
from slipway.onebox.services.pods import living_containers
from slipway.onebox.settings import HOST
from slipway.onebox.supervisor.procfs import identify, listeners
from tests.e2e import guest
from tests.e2e.platform import Platform


def test_down_leaves_no_process_no_port_and_no_socket(platform: Platform) -> None:
    pids = platform.processes()
    assert len(living_containers(platform.paths)) > 0
    ports = {listener for listener in platform.ports if listeners(HOST, listener)}
    assert ports == set(platform.ports)
    addresses = {pod["status"]["podIP"] for pod in platform.pods()}
    platform.down()
    assert {pid for pid in pids if identify(pid)} == set()
    assert platform.processes() == set()
    assert {port for port in platform.ports if listeners(HOST, port)} == set()
    assert {ip for ip in addresses for port in (8000, 5001, 9000) if listeners(ip, port)} == set()
    sockets = platform.paths.sockets
    assert not sockets.exists() or list(sockets.rglob("*")) == []


async def test_up_after_down_serves_what_was_applied(platform: Platform) -> None:
    platform.up()
    answer = await guest.eventually_over_rest(platform, photo(0), name="yolo", namespace="default", timeout_s=60)
    platform.wait_available("yolo")
    assert answer.model.startswith("shapes/")
