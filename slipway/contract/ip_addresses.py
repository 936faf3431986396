"""Whether a host is an address."""

from __future__ import annotations

import ipaddress


def is_ip_address(host: str) -> bool:
    """Of IPv4 or IPv6, without brackets and port."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
