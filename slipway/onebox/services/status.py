"""What runs, as seen now: state files, /proc, each part's own readiness, and the SeldonDeployments."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass
from typing import Any

from slipway.kube.client import Kube
from slipway.kube.errors import KubeError
from slipway.kube.kinds import SELDON_DEPLOYMENT
from slipway.onebox.mesh.admin import Admin
from slipway.onebox.mesh.layout import ENVOYS, Layout
from slipway.onebox.mesh.translate import SECURE_LISTENER
from slipway.onebox.paths import Paths
from slipway.onebox.services.lost_secrets import secret_notes
from slipway.onebox.services.platform import build_specs
from slipway.onebox.services.pods import living_containers
from slipway.onebox.services.secrets import ensure_secrets
from slipway.onebox.services.wanted import load_wish
from slipway.onebox.settings import load_settings
from slipway.onebox.supervisor.control import living_supervisor
from slipway.onebox.supervisor.history import SATISFIED, Phase
from slipway.onebox.supervisor.procfs import descendants, pss_bytes
from slipway.onebox.supervisor.spec import NotReadyError, ProcessSpec
from slipway.onebox.supervisor.state import ProcessState, load_states

MIB = 1 << 20
NONE = "-"


@dataclass(frozen=True)
class ProcessRow:
    """One process; ``pss_bytes`` counts its descendants too (PostgreSQL's workers), but no containers.

    ``ports``: addresses that it always has. ``https_ports``: those that Gateways give to an Envoy.
    """

    name: str
    state: str
    is_ready: bool
    pid: int | None
    uptime_s: float | None
    restarts: int
    pss_bytes: int
    ports: tuple[str, ...]
    problem: str
    https_ports: tuple[str, ...] = ()


@dataclass(frozen=True)
class ContainerRow:
    """One running container of a Pod, with its memory."""

    name: str
    pid: int
    pss_bytes: int


@dataclass(frozen=True)
class DeploymentRow:
    """One SeldonDeployment: percentages by predictor, as declared and as served."""

    namespace: str
    name: str
    state: str
    declared: dict[str, float]
    effective: dict[str, float]


@dataclass(frozen=True)
class Status:
    """Everything `slipway status` shows. ``deployments`` is None when the API does not answer.

    ``notes``: what is to be put right, though it does not stop what runs.
    """

    supervisor_pid: int | None
    processes: tuple[ProcessRow, ...]
    containers: tuple[ContainerRow, ...]
    deployments: tuple[DeploymentRow, ...] | None
    pss_bytes: int
    notes: tuple[str, ...] = ()

    @property
    def is_ready(self) -> bool:
        served = all(row.state == "Available" for row in self.deployments or ())
        return self.supervisor_pid is not None and all(row.is_ready for row in self.processes) and served

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "ready": self.is_ready}


def observe(paths: Paths) -> Status:
    """Look at everything once.

    Raises:
        SettingsError: the settings file is broken.
    """
    if not paths.run.exists():
        return Status(None, (), (), None, 0)
    specs = build_specs(paths, load_settings(paths.settings), ensure_secrets(paths.secrets), load_wish(paths))
    return asyncio.run(_observe(paths, specs))


async def _observe(paths: Paths, specs: Sequence[ProcessSpec]) -> Status:
    states, wanted = load_states(paths.run), load_wish(paths).names
    shown = [spec for spec in specs if spec.name in wanted or spec.name in states]
    problems = await asyncio.gather(*(_problem(spec, states.get(spec.name)) for spec in shown))
    secure = await _secure_addresses(Layout(paths))
    trees = [(name, one.pid, descendants(one.pid)) for name, one in living_containers(paths).items()]
    inside = frozenset(pid for _, _, tree in trees for pid in tree)
    rows = tuple(
        _row(spec, states.get(spec.name), problem, containers=inside, https_ports=secure.get(spec.name, ()))
        for spec, problem in zip(shown, problems, strict=True)
    )
    containers = tuple(ContainerRow(name, pid, _pss(tree)) for name, pid, tree in trees)
    supervisor = living_supervisor(paths.run)
    own_bytes = pss_bytes(supervisor.pid) if supervisor else 0
    return Status(
        supervisor_pid=supervisor.pid if supervisor else None,
        processes=rows,
        containers=containers,
        deployments=await _deployments(paths),
        pss_bytes=own_bytes + sum(row.pss_bytes for row in rows) + sum(row.pss_bytes for row in containers),
        notes=secret_notes(paths),
    )


async def _problem(spec: ProcessSpec, state: ProcessState | None) -> str:
    """Why a process is not ready at this moment; empty when it is."""
    if state is None:
        return "not started"
    if state.phase not in SATISFIED or (not state.is_task and not state.is_alive):
        return state.problem or ("killed" if state.phase is Phase.READY else str(state.phase))
    if spec.probe is not None:
        try:
            await spec.probe.check()
        except NotReadyError as error:
            return f"does not answer: {error}"
    return ""


def _pss(tree: AbstractSet[int]) -> int:
    return sum(pss_bytes(pid) for pid in tree)


async def _secure_addresses(layout: Layout) -> Mapping[str, tuple[str, ...]]:
    """Envoy → where it speaks HTTPS at this moment; nothing for one that does not answer."""
    answers = await asyncio.gather(*(Admin(layout.admin_socket(index)).listeners() for index in ENVOYS))
    return {f"envoy-{index}": secure_addresses(found or {}) for index, found in zip(ENVOYS, answers, strict=True)}


def secure_addresses(listeners: Mapping[str, str]) -> tuple[str, ...]:
    """Of ``listeners`` (name → ``host:port``) those with certificates."""
    return tuple(sorted(address for name, address in listeners.items() if name.startswith(SECURE_LISTENER)))


def _row(
    spec: ProcessSpec,
    state: ProcessState | None,
    problem: str,
    *,
    containers: AbstractSet[int],
    https_ports: tuple[str, ...],
) -> ProcessRow:
    identity = state.identity if state and state.is_alive else None
    pid = identity.pid if identity else None
    shown = Phase.STOPPED if state is None or (pid is None and state.phase is Phase.READY) else state.phase
    return ProcessRow(
        name=spec.name,
        state=str(shown),
        is_ready=not problem,
        pid=pid,
        uptime_s=identity.age_s if identity else None,
        restarts=state.restarts if state else 0,
        pss_bytes=_pss(descendants(pid) - containers) if pid else 0,
        ports=tuple(str(port) for port in spec.ports),
        problem=problem,
        https_ports=https_ports,
    )


async def _deployments(paths: Paths) -> tuple[DeploymentRow, ...] | None:
    if not paths.kubeconfig.exists():
        return None
    try:
        async with Kube.from_kubeconfig(paths.kubeconfig, user_agent="slipway-status") as kube:
            found = await kube.list(SELDON_DEPLOYMENT)
    except KubeError:
        return None
    return tuple(deployment_row(item) for item in found.items)


def deployment_row(item: dict[str, Any]) -> DeploymentRow:
    """A SeldonDeployment's line; ``status.traffic`` is ``{declared: {predictor: percent}, effective: {…}}``."""
    status = item.get("status") or {}
    traffic = status.get("traffic") or {}
    return DeploymentRow(
        namespace=item["metadata"]["namespace"],
        name=item["metadata"]["name"],
        state=status.get("state") or "Creating",
        declared=dict(traffic.get("declared") or {}),
        effective=dict(traffic.get("effective") or {}),
    )


def render_status(status: Status) -> str:
    """Two tables for people, the sum, and notes."""
    notes = [f"note: {note}" for note in status.notes]
    if not status.processes:
        return "\n".join(("nothing runs: start it with `slipway up`", *notes))
    header = ("PROCESS", "STATE", "PID", "UPTIME", "RESTARTS", "PSS MiB", "PORTS", "")
    lines = _table([header, *(_cells(row) for row in status.processes)])
    if status.containers:
        cells = [(row.name, str(row.pid), f"{row.pss_bytes / MIB:.0f}") for row in status.containers]
        lines += ["", *_table([("CONTAINER", "PID", "PSS MiB"), *cells])]
    supervisor = f"pid {status.supervisor_pid}" if status.supervisor_pid else "not running: `slipway up` starts it"
    lines += ["", f"supervisor: {supervisor}; together {status.pss_bytes / MIB:.0f} MiB PSS"]
    if status.deployments is None:
        lines += ["", "SeldonDeployments: the API does not answer"]
    elif status.deployments:
        names = ("NAMESPACE", "SELDONDEPLOYMENT", "STATE", "TRAFFIC", "EFFECTIVE")
        rows = [
            (row.namespace, row.name, row.state, _shares(row.declared), _shares(row.effective))
            for row in status.deployments
        ]
        lines += ["", *_table([names, *rows])]
    return "\n".join((*lines, *(("", *notes) if notes else ())))


def _cells(row: ProcessRow) -> tuple[str, ...]:
    return (
        row.name,
        row.state if row.is_ready else f"{row.state}!",
        str(row.pid or NONE),
        NONE if row.uptime_s is None else f"{row.uptime_s:.0f} s",
        str(row.restarts),
        f"{row.pss_bytes / MIB:.0f}" if row.pss_bytes else NONE,
        ",".join((*row.ports, *(f"https://{port}" for port in row.https_ports))) or NONE,
        row.problem,
    )


def _shares(shares: dict[str, float]) -> str:
    return " ".join(f"{name}={percent:g}" for name, percent in sorted(shares.items())) or NONE


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
