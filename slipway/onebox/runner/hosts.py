"""The names of all Services in the form of ``/etc/hosts``, kept current for running processes."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path

from slipway.onebox.runner.spec import Object

CLUSTER_DOMAIN = "svc.cluster.local"
LOCALHOST = "127.0.0.1 localhost localhost.localdomain\n"


def render_hosts(services: Iterable[Object]) -> str:
    """One line per Service with an address, sorted by it."""
    lines = []
    for service in services:
        address = (service.get("spec") or {}).get("clusterIP")
        if address and address != "None":
            name = f"{service['metadata']['name']}.{service['metadata']['namespace']}"
            lines.append(f"{address} {name}.{CLUSTER_DOMAIN} {name}.svc {name}\n")
    return LOCALHOST + "".join(sorted(lines))


def write_hosts(path: Path, text: str) -> bool:
    """Change the file in place; False where it says so already. OSError, as on a full disk: then it says what it said.

    A new file under the same name would not reach containers: they have this one mounted as ``/etc/hosts``. The text is
    changed in one write. Empty lines are added before it where it is longer, and where it is shorter behind it: so
    there is room for it, and no reader meets the end of an older, longer one.
    """
    content = text.encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        old_size = os.fstat(descriptor).st_size
        if old_size == len(content) and os.pread(descriptor, old_size, 0) == content:
            return False
        more = len(content) - old_size
        if more > 0 and os.pwrite(descriptor, b"\n" * more, old_size) < more:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        os.pwrite(descriptor, content.ljust(old_size, b"\n"), 0)
        os.ftruncate(descriptor, len(content))
    finally:
        os.close(descriptor)
    return True
