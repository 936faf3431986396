"""What ``slipway down`` ends of containers whose runner is gone."""

from __future__ import annotations

import subprocess
from pathlib import Path

from slipway.onebox.paths import Paths
from slipway.onebox.runner.marks import MARK, container_mark, has_mark
from slipway.onebox.runner.observed import ContainerState
from slipway.onebox.runner.state import PodState, StateFile
from slipway.onebox.services.pods import kill_left_containers
from tests.waiting import wait_until

UID, CONTAINER = "0f6a", "model"


def escaped(home: Path) -> subprocess.Popen[bytes]:
    """A process of the container that made a session of its own."""
    mark = container_mark(Paths(home), UID, CONTAINER)
    process = subprocess.Popen(("/bin/sleep", "600"), env={MARK: mark}, start_new_session=True)
    wait_until(lambda: has_mark(process.pid, mark), what="its environment in /proc")
    return process


def test_ending_a_restored_home_leaves_the_original_s_containers_alone(tmp_path: Path) -> None:
    original, restored = escaped(tmp_path / "home"), escaped(tmp_path / "restored")
    try:
        paths = Paths(tmp_path / "restored")
        state = PodState("default", "yolo", UID, containers={CONTAINER: ContainerState()})
        StateFile(paths.pod("default", "yolo", UID)).write(state)
        kill_left_containers(paths)
        assert restored.wait(10) == -9
        assert original.poll() is None
    finally:
        for process in (original, restored):
            process.kill()
            process.wait()
