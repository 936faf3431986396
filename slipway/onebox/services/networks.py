"""The addresses of Services of one home: a part of the machine's that no other home uses."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Callable, Collection

from slipway.onebox.settings import CLUSTER_NETWORKS
from slipway.onebox.supervisor.errors import SupervisorError
from slipway.onebox.supervisor.procfs import describe_owner, listeners_in

PREFIX = 20  # 256 homes of 4094 Services


def choose_network(home: str, is_taken: Callable[[ipaddress.IPv4Network], bool]) -> ipaddress.IPv4Network:
    """The one that the home's path points at, or the next one that nobody uses now.

    Raises:
        SupervisorError: all are in use.
    """
    networks = list(CLUSTER_NETWORKS.subnets(new_prefix=PREFIX))
    start = int.from_bytes(hashlib.sha256(home.encode()).digest()[:8], "big") % len(networks)
    for network in (*networks[start:], *networks[:start]):
        if not is_taken(network):
            return network
    raise SupervisorError(f"{CLUSTER_NETWORKS}: {len(networks)} platforms run on this machine: stop one (slipway down)")


def refuse_taken_network(network: ipaddress.IPv4Network, *, ours: Collection[int]) -> None:
    """Two Envoys of one user may listen on one address: the kernel would deal connections out to both platforms.

    Raises:
        SupervisorError: somebody else listens at one of the addresses.
    """
    strangers = [pid for pid in listeners_in(network) if pid not in ours]
    if strangers:
        owner = describe_owner(strangers[0])
        raise SupervisorError(f"the addresses of this platform's Services, {network}, are in use by {owner}: stop it")
