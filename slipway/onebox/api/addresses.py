"""Cluster addresses of Services: unique, from the network's first upward."""

from __future__ import annotations

import ipaddress
from typing import Any

from slipway.contract.causes import Cause
from slipway.onebox.api.errors import Refused, invalid
from slipway.onebox.api.resources import Resource
from slipway.onebox.api.store import Store
from slipway.onebox.settings import RESERVED_ADDRESSES, reserved_address

HEADLESS = "None"
Object = dict[str, Any]


class ClusterAddresses:
    """Knows the taken addresses from the Services themselves; the next one is searched from the last."""

    def __init__(self, store: Store, network: ipaddress.IPv4Network) -> None:
        self._store = store
        self._network = network
        self._reserved = {reserved_address(network, index) for index in range(RESERVED_ADDRESSES)}
        self._next = int(network.network_address) + 1

    def allocate(self, resource: Resource, obj: Object, *, dry_run: bool) -> None:
        """Give a new Service its address, in place. Refused 422 for an address that is taken or outside the range."""
        if resource.storage != "services":
            return
        spec = obj["spec"]
        if spec.get("type") == "ExternalName":
            return
        taken = {service["spec"].get("clusterIP") for service in self._store.all("services").values()}
        wanted = spec.get("clusterIP") or ""
        if wanted not in ("", HEADLESS):
            self._check(obj, wanted, taken)
        address = wanted or self._free(taken, advance=not dry_run)
        spec |= {"clusterIP": address, "clusterIPs": [address], "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"}

    def _free(self, taken: set[str], *, advance: bool) -> str:
        size = self._network.num_addresses - 2 - RESERVED_ADDRESSES
        first = int(self._network.network_address) + 1
        for step in range(size):
            number = first + (self._next - first + step) % size
            address = str(ipaddress.IPv4Address(number))
            if address not in taken:
                if advance:
                    self._next = number + 1
                return address
        raise Refused(500, f"no cluster address is left in {self._network}", reason="InternalError", details={})

    def _check(self, obj: Object, wanted: str, taken: set[str]) -> None:
        try:
            inside = ipaddress.IPv4Address(wanted) in self._network and wanted not in self._reserved
        except ValueError:
            inside = False
        shown = f'Invalid value: []string{{"{wanted}"}}: failed to allocate IP {wanted}'
        if not inside:
            why = f"the provided IP ({wanted}) is not in the valid range. The range of valid IPs is {self._network}"
        elif wanted in taken:
            why = "provided IP is already allocated"
        else:
            return
        raise invalid("Service", "", obj["metadata"]["name"], [Cause("spec.clusterIPs", f"{shown}: {why}")])
