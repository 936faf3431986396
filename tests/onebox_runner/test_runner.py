"""The whole runner as a process, against the real API of one machine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from slipway.kube.client import Kube
from slipway.kube.errors import NotFound
from slipway.kube.kinds import CONFIG_MAP, DEPLOYMENT, ENDPOINT_SLICE, EVENT, JOB, NODE, POD, REPLICA_SET
from slipway.onebox.runner.workload_steps import MAX_BURST
from tests.onebox_runner.onebox import IMAGE, Onebox, pods, rolled_out, web
from tests.waiting import eventually


def service() -> dict[str, Any]:
    spec = {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default"}, "spec": spec}


async def endpoints(kube: Kube) -> list[str]:
    """Addresses that may be sent requests, as the mesh reads them."""
    slices = (await kube.list(ENDPOINT_SLICE, namespace="default")).items
    return [
        endpoint["addresses"][0]
        for item in slices
        for endpoint in item.get("endpoints") or ()
        if endpoint["conditions"]["ready"]
    ]


async def ask(address: str) -> str:
    reader, writer = await asyncio.open_connection(address, 9000)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    return answer.rpartition(b"\r\n\r\n")[2].decode()


def container_of(pod: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = pod["status"]["containerStatuses"][0]
    return found


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}/exe").exists()


def pid_of(pod: dict[str, Any]) -> int:
    return int(container_of(pod)["containerID"].removeprefix("process://"))


async def test_row_77_a_deployment_serves_rolls_over_without_a_failed_request_and_goes(
    onebox: Onebox, kube: Kube
) -> None:
    await kube.create(service())
    await kube.create(web())
    await eventually(lambda: rolled_out(kube), timeout_s=30, what="the first roll-out")
    assert {await ask(address) for address in await eventually(lambda: endpoints(kube))} == {"one"}
    assert "web.default.svc.cluster.local" in onebox.paths.hosts.read_text()
    assert (await kube.get(NODE, "onebox"))["status"]["capacity"]["cpu"] == str(os.cpu_count())

    onebox.build("2", says="two")
    await kube.apply(web(tag="2"), field_manager="test")
    answers: list[str] = []
    while not (await rolled_out(kube) and len(await pods(kube)) == 2 and answers[-1:] == ["two"]):
        for address in await endpoints(kube):
            answers.append(await ask(address))  # noqa: PERF401  - one after the other, as a client would
    assert set(answers) == {"one", "two"}
    revision = (await kube.get(DEPLOYMENT, "web", namespace="default"))["metadata"]["annotations"]
    assert revision["deployment.kubernetes.io/revision"] == "2"

    await kube.delete(DEPLOYMENT, "web", namespace="default")
    await eventually(lambda: _is_empty(kube), timeout_s=20, what="nothing left")
    await eventually(lambda: not list(onebox.paths.pods.glob("default_*")))
    assert await endpoints(kube) == []
    assert "Traceback" not in "\n".join(onebox.log("runner"))


async def _is_empty(kube: Kube) -> bool:
    kinds = (POD, REPLICA_SET)
    return not [obj for kind in kinds for obj in (await kube.list(kind, namespace="default")).items]


async def test_a_killed_runner_s_pods_run_on_and_are_adopted(onebox: Onebox, kube: Kube) -> None:
    await kube.create(web())
    await eventually(lambda: rolled_out(kube), timeout_s=30)
    before = {pod["metadata"]["uid"]: pid_of(pod) for pod in await pods(kube)}
    assert onebox.stop("runner", signal.SIGKILL) == -signal.SIGKILL
    gone = (await pods(kube))[0]
    assert await ask(gone["status"]["podIP"]) == "one"
    # Deleted while no runner is there, at once: the next one finds the processes by their folder.
    await kube.delete(POD, gone["metadata"]["name"], namespace="default", grace_period_s=0)
    onebox.start_runner()
    await eventually(lambda: not is_alive(before[gone["metadata"]["uid"]]), timeout_s=20)
    await eventually(lambda: rolled_out(kube), timeout_s=20)
    after = {pod["metadata"]["uid"]: pid_of(pod) for pod in await pods(kube)}
    kept = before.keys() - {gone["metadata"]["uid"]}
    assert {uid: after.get(uid) for uid in kept} == {uid: before[uid] for uid in kept}


async def test_after_everything_was_killed_pods_come_back_on_their_digest_without_an_apply(
    onebox: Onebox, kube: Kube
) -> None:
    await kube.create(web())
    await eventually(lambda: rolled_out(kube), timeout_s=30)
    before = {pod["metadata"]["name"]: container_of(pod)["imageID"] for pod in await pods(kube)}
    onebox.stop("runner", signal.SIGKILL)
    for pod in await pods(kube):
        os.kill(pid_of(pod), signal.SIGKILL)
    moved = onebox.build("1", says="edited")  # the source is edited and the tag moves meanwhile
    onebox.start_runner()

    async def restarted() -> bool:
        return all(container_of(pod)["restartCount"] == 1 and container_of(pod)["ready"] for pod in await pods(kube))

    await eventually(restarted, timeout_s=20, what="the Pods are back")
    assert {pod["metadata"]["name"]: container_of(pod)["imageID"] for pod in await pods(kube)} == before
    assert moved not in before.values()
    assert {await ask(pod["status"]["podIP"]) for pod in await pods(kube)} == {"one"}


async def test_term_stops_every_pod_and_the_next_runner_starts_them_again(onebox: Onebox, kube: Kube) -> None:
    await kube.create(web(1))
    await eventually(lambda: rolled_out(kube), timeout_s=30)
    (pod,) = await pods(kube)
    assert onebox.stop("runner", signal.SIGTERM) == 0
    assert not is_alive(pid_of(pod))
    (stopped,) = await pods(kube)
    assert "terminated" in container_of(stopped)["state"]
    onebox.start_runner()
    await eventually(lambda: rolled_out(kube), timeout_s=20)
    (again,) = await pods(kube)
    assert again["metadata"]["uid"] == pod["metadata"]["uid"]


async def test_a_job_completes_and_its_log_stays(onebox: Onebox, kube: Kube) -> None:
    container = {
        "name": "main",
        "image": f"{IMAGE}:1",
        "command": ["python", "-c", "print('$(WORD)')"],
        "env": [{"name": "WORD", "value": "done"}],
    }
    spec = {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}}
    await kube.create(
        {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "once", "namespace": "default"}, "spec": spec}
    )

    async def complete() -> bool:
        status = (await kube.get(JOB, "once", namespace="default")).get("status") or {}
        return [item["type"] for item in status.get("conditions") or ()] == ["Complete"]

    await eventually(complete, timeout_s=20)
    (pod,) = await pods(kube)
    assert pod["status"]["phase"] == "Succeeded"
    lines = [chunk async for chunk in kube.logs(pod["metadata"]["name"], namespace="default")]
    assert b"".join(lines) == b"done\n"

    async def told() -> bool:
        about = "involvedObject.kind=Job,involvedObject.name=once"
        found = (await kube.list(EVENT, namespace="default", field_selector=about)).items
        wanted = {("SuccessfulCreate", "job-controller"), ("Completed", "job-controller")}
        return {(item["reason"], item["source"]["component"]) for item in found} == wanted

    await eventually(told, what="its events")


async def test_an_endpoint_goes_at_once_while_a_huge_job_is_made(onebox: Onebox, kube: Kube) -> None:
    await kube.create(service())
    await kube.create(web(1))
    (address,) = await eventually(lambda: endpoints(kube), timeout_s=30)
    (pod,) = await pods(kube)
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "test/never:1"}]}}
    spec = {"parallelism": 10**6, "completions": 10**6, "template": template}
    await kube.create(
        {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "huge", "namespace": "default"}, "spec": spec}
    )

    async def made() -> list[dict[str, Any]]:
        return (await kube.list(POD, namespace="default", label_selector="job-name=huge")).items

    await eventually(made, what="the first of its Pods")
    await kube.delete(POD, pod["metadata"]["name"], namespace="default")

    async def is_withdrawn() -> bool:
        return address not in await endpoints(kube)

    await eventually(is_withdrawn, timeout_s=5, what="the endpoint is withdrawn")
    count = len(await made())

    async def goes_on() -> bool:
        return len(await made()) > max(count, MAX_BURST)

    await eventually(goes_on, timeout_s=30, what="more of its Pods, in a later round")
    await kube.delete(JOB, "huge", namespace="default")
    assert "Traceback" not in "\n".join(onebox.log("runner"))


async def test_a_config_map_reaches_a_running_pod_and_a_missing_image_is_explained(onebox: Onebox, kube: Kube) -> None:
    meta = {"name": "graph", "namespace": "default"}
    await kube.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"g": "old"}})
    deployment = web(1)
    spec = deployment["spec"]["template"]["spec"]
    spec["volumes"] = [{"name": "graph", "configMap": {"name": "graph"}}]
    spec["containers"][0]["volumeMounts"] = [{"name": "graph", "mountPath": "/etc/slipway/predictor"}]
    spec["containers"].append({"name": "never", "image": "test/never:1"})
    await kube.create(deployment)

    async def explained() -> list[str]:
        return [
            event["message"]
            for event in (await kube.list(EVENT, namespace="default")).items
            if "test/never:1" in event["message"]
        ]

    assert "slipway image build test/never:1" in (await eventually(explained, timeout_s=20))[0]
    (pod,) = await pods(kube)
    (folder,) = onebox.paths.pods.glob("default_*")
    assert (folder / "volumes" / "graph" / "g").read_text() == "old"
    await kube.patch(CONFIG_MAP, "graph", {"data": {"g": "new"}}, type="merge", namespace="default")
    await eventually(lambda: (folder / "volumes" / "graph" / "g").read_text() == "new")
    await kube.delete(POD, pod["metadata"]["name"], namespace="default", grace_period_s=1)

    async def gone() -> bool:
        with contextlib.suppress(NotFound):
            await kube.get(POD, pod["metadata"]["name"], namespace="default")
            return False
        return True

    await eventually(gone, timeout_s=20)


async def test_a_second_runner_on_the_same_home_is_refused(onebox: Onebox, kube: Kube) -> None:
    await eventually(
        lambda: any("mounted" in line or "translated" in line for line in onebox.log("runner")), timeout_s=20
    )
    argv = [sys.executable, "-m", "slipway.onebox.runner", "--home", str(onebox.paths.home)]
    argv += ["--kubeconfig", str(onebox.paths.kubeconfig)]
    second = await asyncio.create_subprocess_exec(*argv, stderr=subprocess.PIPE)
    _, said = await asyncio.wait_for(second.communicate(), 20)
    assert second.returncode == 1
    assert b"another runner works on" in said
