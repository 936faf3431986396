"""The part of a kubelet: a Pod template becomes containers, in a kubelet's order, with its volumes, variables and probes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from slipway.kube.kubeconfig import SERVICE_ACCOUNT_FOLDER
from slipway.onebox.runner.environ import container_env
from slipway.onebox.runner.probes import Result, run_check
from slipway.onebox.runner.references import Sources
from slipway.onebox.runner.spec import Container, Pod, Probe, parse_pod
from slipway.onebox.runner.volumes import write_volumes
from tests.containers.docker import Docker
from tests.containers.docker_argv import create_argv, env_file

Object = dict[str, Any]
LOOPBACK = "127.0.0.1"
INITIALIZER_TIMEOUT_S = 120
LOG_LINES = 40


@dataclass(frozen=True)
class Node:
    """``network``: the container whose network every Pod here shares; ``folder``: where volumes are.

    ``account``: the folder of a service account, and ``api_port`` where the API is; for Pods that name an account.
    """

    docker: Docker
    network: str
    folder: Path
    sources: Sources
    account: Path | None = None
    api_port: int = 0

    @contextmanager
    def running(self, template: Object, *, namespace: str, name: str) -> Iterator[Pod]:
        """The Pod, once all its containers are ready; stopped as a kubelet would, within its grace period."""
        pod = parse_pod({"metadata": {**template["metadata"], "namespace": namespace, "name": name, "uid": name}, "spec": template["spec"]})  # fmt: skip
        places = write_volumes(
            pod, self.folder / name, sources=self.sources, ip=LOOPBACK, claims=self.folder / "claims"
        )
        for place in places.values():
            place.chmod(0o777)  # a kubelet's emptyDir is anybody's; what is projected is read-only by its mount
        try:
            for container in pod.init_containers:
                self._create(container, pod, template["spec"], places)
                self.docker.run("start", "--attach", _of(pod, container), timeout_s=INITIALIZER_TIMEOUT_S)
            for container in pod.containers:
                self._create(container, pod, template["spec"], places)
                self.docker.run("start", _of(pod, container))
            asyncio.run(self._ready(pod))
            yield pod
            self._stop(pod)
        finally:
            for container in (*pod.init_containers, *pod.containers):
                self.docker.run("rm", "--force", _of(pod, container), check=False)  # it may not have come to be

    def logs(self, pod: Pod, container: str) -> str:
        done = self.docker.run("logs", "--tail", str(LOG_LINES), f"{pod.name}_{container}")
        return done.stdout + done.stderr

    def _create(self, container: Container, pod: Pod, spec: Object, places: Mapping[str, Path]) -> None:
        env = container_env(container, pod, sources=self.sources, ip=LOOPBACK, image_env={})
        argv = create_argv(pod, spec, container, network=self.network, places=places, env=env)
        if "serviceAccountName" in spec and self.account is not None:
            argv[1:1] = ["--volume", f"{self.account}:{SERVICE_ACCOUNT_FOLDER}:ro"]
            env |= {"KUBERNETES_SERVICE_HOST": LOOPBACK, "KUBERNETES_SERVICE_PORT": str(self.api_port)}
        self.docker.run(*argv, stdin=env_file(env))

    async def _ready(self, pod: Pod) -> None:
        """Startup, readiness and liveness of every container."""
        async with aiohttp.ClientSession() as session:
            for container in pod.containers:
                for kind in ("startup", "readiness", "liveness"):
                    if probe := container.probes.get(kind):
                        await self._passes(probe, pod, container, f"{container.name}: {kind}", session)

    async def _passes(
        self, probe: Probe, pod: Pod, container: Container, what: str, session: aiohttp.ClientSession
    ) -> None:
        """Asked every period, as often as it may fail."""
        result = Result(False, "never asked")
        for _ in range(probe.failure_threshold):
            started = time.monotonic()
            result = await run_check(
                probe.check, ip=LOOPBACK, timeout_s=probe.timeout_s, session=session, execute=self._no_command
            )
            if result.is_ok:
                return
            state = self.docker.inspect(_of(pod, container), "{{.State.Status}} {{.State.ExitCode}}")
            assert state.startswith("running"), f"{what}: {state}\n{self.logs(pod, container.name)}"
            await asyncio.sleep(max(0.0, probe.period_s - (time.monotonic() - started)))
        raise AssertionError(f"{what}: {result.message}\n{self.logs(pod, container.name)}")

    async def _no_command(self, command: tuple[str, ...], timeout_s: float) -> int | None:
        raise AssertionError(f"probe {command} ({timeout_s} s): commands are not asked in containers here")

    def _stop(self, pod: Pod) -> None:
        """Each container's hook, then SIGTERM; whoever must be killed at the end of the grace period has not drained."""
        deadline = time.monotonic() + pod.grace_s
        with ThreadPoolExecutor(len(pod.containers)) as at_once:
            list(at_once.map(lambda container: self._end(pod, container, deadline), pod.containers))
        names = [_of(pod, container) for container in pod.containers]
        codes = {name: self.docker.inspect(name, "{{.State.ExitCode}}") for name in names}
        assert set(codes.values()) == {"0"}, f"not all ended by themselves: {codes}"

    def _end(self, pod: Pod, container: Container, deadline: float) -> None:
        name, hook = _of(pod, container), container.pre_stop
        if hook is not None:
            assert hook.command, f"{name}: preStop {hook}: only commands are run in containers here"
            self.docker.run("exec", name, *hook.command)
        self.docker.run("stop", "--time", f"{max(0.0, deadline - time.monotonic()):.0f}", name)


def _of(pod: Pod, container: Container) -> str:
    return f"{pod.name}_{container.name}"
