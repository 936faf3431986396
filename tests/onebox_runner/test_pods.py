"""Pods as real processes of a real tiny image."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from slipway.onebox.runner import decide
from slipway.onebox.runner.observed import Observed
from slipway.onebox.runner.pod_records import PodRecords
from slipway.onebox.runner.process import is_same
from slipway.onebox.runner.state import read_state
from tests.onebox_runner.conftest import IMAGE, Pods
from tests.onebox_runner.objects import pod_object

SERVER = """
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if os.path.exists(os.environ["TMPDIR"] + "/ready") else 503)
        self.end_headers()
    def log_message(self, *a): pass
http.server.HTTPServer((os.environ["SLIPWAY_POD_IP"], 9000), Handler).serve_forever()
"""
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"


def ready(pods: Pods) -> bool:
    conditions = {item["type"]: item["status"] for item in pods.kube.status.get("conditions") or ()}
    return conditions.get("Ready") == "True"


def is_alive(pid: int) -> bool:
    """And no zombie: those have no program any more."""
    return Path(f"/proc/{pid}/exe").exists()


def pids(pods: Pods) -> list[int]:
    return [int(item["containerID"].removeprefix("process://")) for item in pods.kube.status["containerStatuses"]]


async def test_the_image_s_entrypoint_runs_with_its_environment(pods: Pods) -> None:
    worker = pods.start()
    await pods.until(lambda: pods.log(worker) == ["hello"])
    await pods.until(lambda: ready(pods))
    (shown,) = pods.kube.status["containerStatuses"]
    assert shown["imageID"].startswith("sha256:")
    assert pods.kube.status["podIP"].startswith("127.")
    assert pods.kube.status["phase"] == "Running"
    assert json.loads(pods.kube.annotations["slipway.dev/image-digests"]) == {"main": shown["imageID"]}
    assert pods.kube.reasons()[:3] == ["Pulled", "Created", "Started"]


async def test_nothing_of_the_runner_s_environment_reaches_a_container(
    pods: Pods, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not for containers")
    worker = pods.start("python", "-c", "import os; print(sorted(os.environ))")
    await pods.until(lambda: pods.log(worker))
    assert "SLIPWAY_POD_IP" in pods.log(worker)[0]
    assert "AWS" not in pods.log(worker)[0]


async def test_a_container_that_exits_at_once_restarts_and_backs_off(pods: Pods) -> None:
    pods.start("python", "-c", "import sys; sys.exit(3)")
    waiting = await pods.until(lambda: pods.state().get("waiting"))
    assert waiting["reason"] == "CrashLoopBackOff"
    (shown,) = pods.kube.status["containerStatuses"]
    assert shown["restartCount"] == 1
    assert shown["lastState"]["terminated"]["exitCode"] == 3
    assert not ready(pods)
    await pods.until(lambda: "BackOff" in pods.kube.reasons())


async def test_a_container_that_ignores_term_is_killed_after_its_grace_period(pods: Pods) -> None:
    worker = pods.start("python", "-c", DEAF)
    await pods.until(lambda: pods.log(worker) == ["deaf"])
    await pods.stop(worker)
    assert pods.state()["terminated"]["exitCode"] == 128 + signal.SIGKILL


async def test_a_slow_container_is_ready_when_it_answers_and_not_before(pods: Pods) -> None:
    probe = {"httpGet": {"path": "/", "port": 9000}, "periodSeconds": 60}
    worker = pods.start("python", "-c", SERVER, readinessProbe=probe)
    await pods.until(lambda: "running" in pods.state())
    assert not ready(pods)
    (worker.folder / "tmp" / "ready").touch()
    await pods.until(lambda: ready(pods), timeout_s=5)  # the period is 60 s: the first success is looked for more often


async def test_a_liveness_probe_restarts_a_container(pods: Pods) -> None:
    probe = {
        "exec": {"command": ["python", "-c", "import sys; sys.exit(1)"]},
        "periodSeconds": 0.2,
        "failureThreshold": 2,
    }
    pods.start("python", "-c", "import time; time.sleep(600)", livenessProbe=probe)
    await pods.until(lambda: pods.kube.status.get("containerStatuses", [{}])[0].get("restartCount", 0) >= 1)
    assert "Unhealthy" in pods.kube.reasons()
    assert "Killing" in pods.kube.reasons()


async def test_a_stop_marks_the_pod_unready_before_term(pods: Pods) -> None:
    probe = {"tcpSocket": {"port": 9000}}
    worker = pods.start("python", "-c", SERVER, readinessProbe=probe)
    await pods.until(lambda: ready(pods))
    await pods.stop(worker)
    unready = next(
        i
        for i, s in enumerate(pods.kube.statuses)
        if s["conditions"][2]["status"] == "False"
        and i > 0
        and pods.kube.statuses[i - 1]["conditions"][2]["status"] == "True"
    )
    assert "running" in pods.kube.statuses[unready]["containerStatuses"][0]["state"]
    assert decide.DRAIN_S > 0


async def test_a_pre_stop_hook_runs_before_term(pods: Pods) -> None:
    program = "import signal, sys, time, os; signal.signal(signal.SIGTERM, lambda *a: (print(os.path.exists(os.environ['TMPDIR'] + '/hook'), flush=True), sys.exit(0))); print('up', flush=True); time.sleep(600)"
    hook = {"preStop": {"exec": {"command": ["python", "-c", "import os; open(os.environ['TMPDIR'] + '/hook', 'w')"]}}}
    worker = pods.start("python", "-c", program, lifecycle=hook)
    await pods.until(lambda: pods.log(worker) == ["up"])
    await pods.stop(worker)
    assert pods.log(worker) == ["up", "True"]


async def test_what_left_the_container_s_group_and_session_ends_with_it(pods: Pods, tmp_path: Path) -> None:
    program = "import subprocess, sys; " + "; ".join(
        f"open({str(tmp_path / name)!r}, 'w').write(str(subprocess.Popen(['sleep', '600'], {how}).pid))"
        for name, how in (("session", "start_new_session=True"), ("group", "process_group=0"))
    )
    main = {"name": "main", "image": IMAGE, "command": ["python", "-c", program]}
    pods.start(obj=pod_object(spec={"restartPolicy": "Never", "containers": [main]}))
    await pods.until(lambda: pods.kube.status.get("phase") == "Succeeded")
    left = [int((tmp_path / name).read_text()) for name in ("session", "group")]
    await pods.until(lambda: not any(is_alive(pid) for pid in left))


async def test_the_whole_group_ends_with_its_leader(pods: Pods) -> None:
    program = "import subprocess, sys, time; p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); print(p.pid, flush=True); time.sleep(0.2); sys.exit(0)"
    worker = pods.start(
        obj=pod_object(
            spec={
                "restartPolicy": "Never",
                "containers": [{"name": "main", "image": IMAGE, "command": ["python", "-c", program]}],
            }
        )
    )
    await pods.until(lambda: pods.kube.status.get("phase") == "Succeeded")
    child = int(pods.log(worker)[0])
    await pods.until(lambda: not is_alive(child))


def pod_with_volumes() -> dict[str, Any]:
    volumes = [
        {"name": "model", "emptyDir": {}},
        {
            "name": "podinfo",
            "downwardAPI": {"items": [{"path": "annotations", "fieldRef": {"fieldPath": "metadata.annotations"}}]},
        },
        {"name": "graph", "configMap": {"name": "graph"}},
        {"name": "secret", "secret": {"secretName": "keys", "defaultMode": 0o400}},
    ]
    mounts = [
        {"name": "podinfo", "mountPath": "/etc/podinfo"},
        {"name": "graph", "mountPath": "/etc/slipway/predictor"},
        {"name": "secret", "mountPath": "/etc/keys"},
    ]
    read = "import time, sys\nfor path in sys.argv[1:]: print(open(path).read().strip(), flush=True)\ntime.sleep(600)"
    files = [
        "/mnt/models/weights",
        "/etc/podinfo/annotations",
        "/etc/slipway/predictor/predictor.json",
        "/etc/keys/key",
    ]
    write = "open('/mnt/models/weights', 'w').write('w')"
    containers = [
        {
            "name": "main",
            "image": IMAGE,
            "command": ["python", "-c", read, *files],
            "volumeMounts": [*mounts, {"name": "model", "mountPath": "/mnt/models", "readOnly": True}],
        }
    ]
    # The word of a program is no path: in translated mode the folder reaches it as an argument.
    init = {
        "name": "init",
        "image": IMAGE,
        "command": ["python", "-c", "import sys; open(sys.argv[1] + '/weights', 'w').write('w')", "/mnt/models"],
        "volumeMounts": [{"name": "model", "mountPath": "/mnt/models"}],
    }
    assert write
    return pod_object(
        spec={
            "initContainers": [init],
            "containers": containers,
            "volumes": volumes,
            "terminationGracePeriodSeconds": 2,
        },
        metadata={"annotations": {"a": 'say "hi"'}},
    )


@pytest.mark.parametrize("path_mode", ["mounted", "translated"], indirect=True)
async def test_volumes_are_where_the_manifest_mounts_them(pods: Pods, path_mode: str) -> None:
    pods.sources["config_maps"][("default", "graph")] = {"data": {"predictor.json": "{}"}}
    pods.sources["secrets"][("default", "keys")] = {"data": {"key": "c2VjcmV0"}}
    worker = pods.start(obj=pod_with_volumes())
    await pods.until(lambda: len(pods.log(worker)) == 4)
    assert pods.log(worker) == ["w", 'a="say \\"hi\\""', "{}", "secret"]
    shown = pods.kube.annotations.get("slipway.dev/paths")
    assert shown == ("translated" if path_mode == "translated" or not pods.machine.has_namespaces else None)


async def test_a_changed_config_map_and_annotation_reach_the_running_container(pods: Pods) -> None:
    pods.sources["config_maps"][("default", "graph")] = {"data": {"predictor.json": "old"}}
    pods.sources["secrets"][("default", "keys")] = {"data": {"key": "c2VjcmV0"}}
    obj = pod_with_volumes()
    worker = pods.start(obj=obj)
    await pods.until(lambda: len(pods.log(worker)) == 4)
    pods.sources["config_maps"][("default", "graph")] = {"data": {"predictor.json": "new", "more": "x"}}
    worker.update({**obj, "metadata": {**obj["metadata"], "annotations": {"a": "changed"}}})
    volumes = worker.folder / "volumes"
    assert (volumes / "graph" / "predictor.json").read_text() == "new"
    assert sorted(path.name for path in (volumes / "graph").iterdir() if not path.name.startswith("..")) == [
        "more",
        "predictor.json",
    ]
    assert (volumes / "podinfo" / "annotations").read_text() == 'a="changed"'


async def test_a_missing_config_map_is_named_and_waited_for(pods: Pods) -> None:
    pods.sources["secrets"][("default", "keys")] = {"data": {}}
    pods.start(obj=pod_with_volumes())
    await pods.until(lambda: "FailedMount" in pods.kube.reasons())
    assert "ConfigMap default/graph does not exist" in pods.kube.status["message"]
    pods.sources["config_maps"][("default", "graph")] = {"data": {"predictor.json": "{}"}}
    pods.sources["secrets"][("default", "keys")] = {"data": {"key": "c2VjcmV0"}}
    await pods.until(lambda: pods.kube.status["phase"] == "Running")


async def test_an_image_never_built_names_the_command_that_builds_it(pods: Pods) -> None:
    pods.start(image="test/never:7")
    waiting = await pods.until(lambda: pods.state().get("waiting", {}).get("message") and pods.state()["waiting"])
    assert waiting["reason"] in ("ErrImagePull", "ImagePullBackOff")
    assert "slipway image build test/never:7" in waiting["message"]
    await pods.until(lambda: any("slipway image build test/never:7" in event["message"] for event in pods.kube.events))


async def test_a_new_runner_adopts_what_lives(pods: Pods) -> None:
    program = "import time, itertools\nfor n in itertools.count(): print(n, flush=True); time.sleep(0.05)"
    worker = pods.start("python", "-c", program)
    await pods.until(lambda: len(pods.log(worker)) > 2)
    before = pids(pods)
    await pods.abandon(worker)
    pods.kube.statuses.clear()
    printed = len(pods.log(worker))
    again = pods.start(obj=worker.obj)
    await pods.until(lambda: ready(pods))
    assert pids(pods) == before
    assert pods.kube.status["containerStatuses"][0]["restartCount"] == 0
    await pods.until(lambda: len(pods.log(again)) > printed + 3)
    numbers = [int(line) for line in pods.log(again)]
    assert numbers == list(range(len(numbers)))  # not a line was lost in between
    await pods.stop(again)
    assert not is_alive(before[0])


async def test_what_died_without_a_runner_starts_again_with_the_same_digest(pods: Pods) -> None:
    worker = pods.start()
    await pods.until(lambda: ready(pods))
    digest, (pid,) = pods.kube.status["containerStatuses"][0]["imageID"], pids(pods)
    await pods.abandon(worker)
    killed = read_state(worker.folder)
    assert killed is not None
    os.kill(pid, signal.SIGKILL)
    await pods.until(lambda: not any(is_same(identity) for identity in killed.processes.values()))
    pods.kube.statuses.clear()
    pods.start(obj=worker.obj)
    await pods.until(lambda: ready(pods))
    (shown,) = pods.kube.status["containerStatuses"]
    assert (shown["restartCount"], shown["imageID"]) == (1, digest)
    assert shown["lastState"]["terminated"]["reason"] == "ContainerStatusUnknown"


async def test_a_reused_pid_is_never_taken_for_the_container(pods: Pods) -> None:
    worker = pods.start()
    await pods.until(lambda: ready(pods))
    await pods.abandon(worker)
    path = worker.folder / "state.json"
    state = json.loads(path.read_text())
    pods.kube.statuses.clear()
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as stranger:  # noqa: ASYNC220  - it only sleeps
        state["processes"]["main"]["pid"] = stranger.pid
        path.write_text(json.dumps(state))
        again = pods.start(obj=worker.obj)
        await pods.until(lambda: ready(pods))
        assert pids(pods) != [stranger.pid]
        await pods.stop(again)
        found = read_state(worker.folder)
        assert found is not None
        assert stranger.poll() is None
        stranger.kill()
    assert not any(is_same(identity) for identity in found.processes.values())


async def test_two_pods_have_addresses_of_their_own_and_the_same_ports(pods: Pods) -> None:
    port = [{"name": "http", "containerPort": 9000}]
    container = {
        "name": "main",
        "image": IMAGE,
        "command": ["python", "-c", SERVER],
        "ports": port,
        "readinessProbe": {"tcpSocket": {"port": "http"}},
    }
    for name in ("one", "two"):
        pods.start(obj=pod_object(name, spec={"containers": [container], "terminationGracePeriodSeconds": 1}))
    await pods.until(
        lambda: len({s["podIP"] for s in pods.kube.statuses if s["conditions"][2]["status"] == "True"}) == 2
    )


async def test_a_container_over_its_memory_limit_is_killed_and_says_why(pods: Pods) -> None:
    worker = pods.start(
        "python",
        "-c",
        "import time; x = b'x' * 50_000_000; print('up', flush=True); time.sleep(600)",
        resources={"limits": {"memory": "20Mi"}},
    )
    await pods.until(lambda: pods.log(worker) == ["up"])
    from slipway.onebox.runner.memory import used_bytes

    ((name, (pid, limit)),) = worker.memory_limits().items()
    used = used_bytes([pid])[pid]
    assert used > 50_000_000 > limit == 20 * 1024 * 1024
    worker.kill_for_memory(name, used, limit)
    await pods.until(
        lambda: pods.kube.status["containerStatuses"][0]["lastState"].get("terminated", {}).get("reason") == "OOMKilled"
    )


async def test_a_command_that_is_not_in_the_image_is_named(pods: Pods) -> None:
    pods.start("no-such-program")
    await pods.until(lambda: pods.kube.status.get("containerStatuses", [{}])[0].get("lastState", {}).get("terminated"))
    ended = pods.kube.status["containerStatuses"][0]["lastState"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (127, "ContainerCannotRun")
    assert ended["message"] == "cannot start 'no-such-program': No such file or directory"


async def test_a_probe_that_falls_due_while_the_status_is_written_is_not_forgotten(
    pods: Pods, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = PodRecords.publish

    def write_slowly(records: PodRecords, observed: Observed) -> None:
        written(records, observed)
        threading.Event().wait(decide.FAST_PERIOD_S * 0.7)  # a slow disk: the loop stands still

    monkeypatch.setattr(PodRecords, "publish", write_slowly)
    slow_to_start = SERVER.replace(
        "import http.server, os", "import http.server, os, itertools; count = itertools.count()"
    )
    pods.start(
        *("python", "-c", slow_to_start.replace('os.path.exists(os.environ["TMPDIR"] + "/ready")', "next(count) > 5")),
        startupProbe={"httpGet": {"port": 9000}, "periodSeconds": 1, "failureThreshold": 60},
    )
    await pods.until(lambda: ready(pods))


@pytest.mark.parametrize(("policy", "message"), [("File", None), ("FallbackToLogsOnError", "one\nrefused: two")])
async def test_the_end_of_the_output_is_the_message_where_the_container_says_so(
    pods: Pods, policy: str, message: str | None
) -> None:
    pods.start("python", "-c", "print('one'); raise SystemExit('refused: two')", terminationMessagePolicy=policy)
    await pods.until(lambda: pods.kube.status.get("containerStatuses", [{}])[0].get("lastState", {}).get("terminated"))
    ended = pods.kube.status["containerStatuses"][0]["lastState"]["terminated"]
    assert (ended["exitCode"], ended.get("message")) == (1, message)


async def test_a_folder_that_a_container_made_read_only_goes_with_its_pod(pods: Pods) -> None:
    program = (
        "import os; os.makedirs('/mnt/data/a/b'); os.chmod('/mnt/data/a/b', 0o500); os.chmod('/mnt/data/a', 0o500)"
    )
    main = {
        "name": "main",
        "image": IMAGE,
        "command": ["python", "-c", program],
        "volumeMounts": [{"name": "data", "mountPath": "/mnt/data"}],
    }
    spec = {"restartPolicy": "Never", "containers": [main], "volumes": [{"name": "data", "emptyDir": {}}]}
    worker = pods.start(obj=pod_object(spec=spec))
    await pods.until(lambda: pods.kube.status.get("phase") == "Succeeded")
    await pods.stop(worker)
    assert (worker.folder / "volumes" / "data" / "a").stat().st_mode & 0o777 == 0o500
    worker.remove_folder()
    assert not worker.folder.exists()
