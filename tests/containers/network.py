"""A Pod's network: of a container that does nothing else, shared by all others of the Pod and entered by the test.

It has a loopback device only: what the Pod is to reach runs in it, and no port of the machine is taken.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.containers.docker import Docker

CLONE_NEWNET = 0x40000000
WAITS = "import signal; signal.pause()"


@contextmanager
def sandbox(docker: Docker, *, name: str, image: str) -> Iterator[str]:
    """The name of a container whose network can be shared, as a kubelet's runtime makes one for each Pod."""
    docker.run("run", "--detach", "--pull", "never", "--name", name, "--network", "none", "--read-only",
               "--cap-drop", "ALL", "--entrypoint", "python", image, "-c", WAITS)  # fmt: skip
    try:
        with entered(Path(f"/proc/{docker.inspect(name, '{{.State.Pid}}')}/ns/net")):
            yield name
    finally:
        docker.run("rm", "--force", name)


@contextmanager
def entered(namespace: Path) -> Iterator[None]:
    """This thread, and what it starts from now on, has the network of ``namespace``; afterwards its own again.

    setns(2); os.setns is of Python 3.12.
    """
    before, wanted = os.open("/proc/thread-self/ns/net", os.O_RDONLY), os.open(namespace, os.O_RDONLY)
    try:
        _setns(wanted)
        yield
    finally:
        _setns(before)
        os.close(before)
        os.close(wanted)


def _setns(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")
