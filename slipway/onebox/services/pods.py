"""The containers on this machine, found through the runner's state files, with or without a living runner."""

from __future__ import annotations

import signal

from slipway.onebox.paths import Paths
from slipway.onebox.runner.state import read_state
from slipway.onebox.supervisor.process import kill_session, signal_group
from slipway.onebox.supervisor.procfs import Identity


def living_containers(paths: Paths) -> dict[str, Identity]:
    """``namespace/pod/container`` → the container's first process, for every one that is alive."""
    found: dict[str, Identity] = {}
    for folder in sorted(paths.pods.glob("*")):
        if not folder.is_dir() or (pod := read_state(folder)) is None:
            continue
        for container, process in pod.processes.items():
            identity = Identity(process.pid, process.start_ticks, pod.boot)
            if identity.is_alive:
                found[f"{pod.namespace}/{pod.name}/{container}"] = identity
    return found


def kill_left_containers(paths: Paths) -> list[str]:
    """End containers whose runner is gone (a stopping runner ends its own), and say which."""
    left = living_containers(paths)
    for identity in left.values():
        signal_group(identity, signal.SIGKILL)
        kill_session(identity.pid)
    return list(left)
