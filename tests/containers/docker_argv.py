"""A container of a Pod → the words of `docker create`: what a kubelet tells its container runtime, told to Docker.

Every field is either in these words, or done by the node (``NODE``); an unknown one is refused rather than left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slipway.contract.quantity import parse_quantity
from slipway.onebox.runner.environ import expand
from slipway.onebox.runner.spec import Container, InvalidPod, Pod

Object = dict[str, Any]
WORDS = {
    "name",
    "image",
    "command",
    "args",
    "workingDir",
    "env",
    "envFrom",
    "volumeMounts",
    "resources",
    "securityContext",
}
NODE = {"ports", "startupProbe", "readinessProbe", "livenessProbe", "imagePullPolicy", "terminationMessagePath"}
NODE |= {"terminationMessagePolicy", "lifecycle"}
"""Probes and hooks are the node's work; ports need no word, because the containers of a Pod share its network."""

POD = {"containers", "initContainers", "volumes", "securityContext", "terminationGracePeriodSeconds", "restartPolicy"}
POD |= {"affinity", "serviceAccountName"}
"""Of one node affinity asks nothing; the account's folder is mounted by the node."""

SECURITY = {"runAsUser", "runAsGroup", "runAsNonRoot", "readOnlyRootFilesystem", "allowPrivilegeEscalation"}
SECURITY |= {"capabilities", "seccompProfile"}


def create_argv(
    pod: Pod, spec: Object, container: Container, *, network: str, places: Mapping[str, Path], env: Mapping[str, str]
) -> list[str]:
    """``spec`` is the Pod's; ``network`` a container's whose network is shared; ``places`` the folder of each volume.

    ``env`` serves for $(NAME) in words only: its values may be secrets, and go into a file. Raises InvalidPod.
    """
    raw = next(
        item for item in (*spec.get("initContainers", ()), *spec["containers"]) if item["name"] == container.name
    )
    _refuse_unknown("spec", spec, POD)
    _refuse_unknown(container.name, raw, WORDS | NODE)
    argv = ["create", "--pull", "never", "--name", f"{pod.name}_{container.name}", "--network", f"container:{network}"]
    argv += _security({**spec.get("securityContext", {}), **raw.get("securityContext", {})}, container.name)
    argv += _limits(raw.get("resources", {}))
    for mount in container.mounts:
        place = places[mount.volume] / mount.sub_path
        argv += ["--volume", f"{place}:{mount.path}{':ro' if mount.is_read_only else ''}"]
    argv += ["--workdir", container.working_dir] if container.working_dir else []
    command = [expand(word, env) for word in container.command]
    argv += ["--entrypoint", command[0]] if command else []
    return [
        *argv,
        "--env-file",
        "/dev/stdin",
        container.image,
        *command[1:],
        *(expand(word, env) for word in container.args),
    ]


def env_file(env: Mapping[str, str]) -> str:
    """Raises InvalidPod for a value of two lines, which Docker's form cannot hold."""
    for name, value in env.items():
        if "\n" in value or "\r" in value:
            raise InvalidPod(f"env {name}: two lines: Docker's env file has one for each variable")
    return "".join(f"{name}={value}\n" for name, value in env.items())


def _security(context: Object, where: str) -> list[str]:
    _refuse_unknown(f"{where}.securityContext", context, SECURITY)
    argv: list[str] = []
    user, group = context.get("runAsUser"), context.get("runAsGroup")
    if user is not None:
        argv += ["--user", str(user) if group is None else f"{user}:{group}"]
    if context.get("runAsNonRoot") and user == 0:
        raise InvalidPod(f"{where}: runAsNonRoot, and runAsUser is 0")
    argv += ["--read-only"] if context.get("readOnlyRootFilesystem") else []
    argv += ["--security-opt", "no-new-privileges"] if context.get("allowPrivilegeEscalation") is False else []
    capabilities = context.get("capabilities", {})
    argv += [word for name in capabilities.get("drop", ()) for word in ("--cap-drop", name)]
    argv += [word for name in capabilities.get("add", ()) for word in ("--cap-add", name)]
    profile = context.get("seccompProfile", {"type": "RuntimeDefault"})
    if profile != {"type": "RuntimeDefault"}:  # Docker's own default, also where a kubelet would have none
        raise InvalidPod(f"{where}: seccompProfile {json.dumps(profile)}: only RuntimeDefault is tried")
    return argv


def _limits(resources: Object) -> list[str]:
    _refuse_unknown("resources", resources, {"requests", "limits"})
    limits = resources.get("limits", {})
    _refuse_unknown("resources.limits", limits, {"cpu", "memory"})
    argv = ["--cpus", f"{float(parse_quantity(limits['cpu'])):g}"] if "cpu" in limits else []
    return [*argv, *(["--memory", str(int(parse_quantity(limits["memory"])))] if "memory" in limits else [])]


def _refuse_unknown(where: str, given: Object, known: set[str]) -> None:
    if unknown := sorted(given.keys() - known):
        raise InvalidPod(f"{where}: {', '.join(unknown)}: not known here, so it would be left out")
