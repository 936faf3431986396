"""The containers on this machine, found through the runner's state files, with or without a living runner."""

from __future__ import annotations

import signal
from collections.abc import Iterator

from slipway.onebox.paths import Paths
from slipway.onebox.runner.marks import container_mark, kill_marked
from slipway.onebox.runner.state import PodState, read_state
from slipway.onebox.supervisor.process import kill_session, signal_group
from slipway.onebox.supervisor.procfs import Identity


def living_containers(paths: Paths) -> dict[str, Identity]:
    """``namespace/pod/container`` → the container's first process, for every one that is alive."""
    found: dict[str, Identity] = {}
    for pod in _pods(paths):
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
    for pod in _pods(paths):
        for container in pod.containers:
            kill_marked(container_mark(paths, pod.uid, container))
    return list(left)


def _pods(paths: Paths) -> Iterator[PodState]:
    for folder in sorted(paths.pods.glob("*")):
        if folder.is_dir() and (pod := read_state(folder)) is not None:
            yield pod
