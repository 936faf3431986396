"""``slipway split``: what share of the requests each predictor was to get, and what it got."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from slipway.cli.objects import Failure, NotReady, namespace_option, run
from slipway.cli.split_shares import STATS, Split, copies_under_way, render_split, requests_by_predictor, shares
from slipway.contract.following import parse_duration_s
from slipway.contract.sdep import SeldonDeployment
from slipway.kube.client import Kube
from slipway.kube.kinds import SELDON_DEPLOYMENT
from slipway.onebox.mesh.admin import Admin
from slipway.onebox.mesh.layout import ENVOYS, Layout
from slipway.onebox.paths import Paths

UPTIME = "server.uptime"
ANSWER_S = 5.0
"""How long an Envoy is waited for."""
Stats = Mapping[str, int]


@dataclass(frozen=True)
class Reading:
    """Counters of each Envoy at one moment; None of one that does not answer."""

    at_s: float
    envoys: tuple[Stats | None, ...]

    @property
    def uptime_s(self) -> float:
        """Of the one that has run longest."""
        return float(max((stats[UPTIME] for stats in self.envoys if stats), default=0))


@click.command("split")
@click.argument("name")
@click.option("--for", "window", metavar="DURATION", help="Watch for so long (30s, 5m) rather than count all so far.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@namespace_option
def split_command(name: str, window: str | None, namespace: str | None, *, as_json: bool) -> None:
    """Show the declared, the effective and the observed share of each predictor.

    Declared is what the manifest says; effective leaves out predictors that are not ready; observed is counted by this
    machine's Envoys: every request through the gateway, REST and gRPC, once however often it was retried. INTERVAL is
    what the true share may be by these counts, but for one time in a million (Wilson's score interval); where the
    effective share is outside, a sentence says so. A shadow's share is of the copies. The requests of a group
    (slipway.dev/match) come on top: their predictor is not judged, and the others' shares are without it.

    \b
    Examples:
      slipway split yolo
      slipway split yolo --for 30s
      slipway split yolo --for 5m --json | jq '.sentences'
    """  # noqa: D301  - click reads the backspace character
    try:
        seconds = parse_duration_s(window) if window else 0
    except ValueError as exc:
        raise click.UsageError(f"--for: {exc}") from exc
    admins = [Admin(Layout(Paths.from_env()).admin_socket(index), timeout_s=ANSWER_S) for index in ENVOYS]
    split = run(lambda kube: watch(kube, admins, name, namespace=namespace or kube.access.namespace, seconds=seconds))
    click.echo(json.dumps(split.as_json(), indent=2) if as_json else render_split(split))


async def watch(kube: Kube, admins: Sequence[Admin], name: str, *, namespace: str, seconds: float) -> Split:
    """The split over ``seconds`` from now; 0 for all that the Envoys counted.

    Raises:
        NotReady: no Envoy of this machine answers. Failure: the Envoys were started anew meanwhile.
        ApiError: there is no such SeldonDeployment.
    """
    obj = await kube.get(SELDON_DEPLOYMENT, name, namespace=namespace)
    sdep = SeldonDeployment.from_json(obj)
    begin = await _read(admins)
    under_way = _under_way(sdep, begin)
    if seconds:
        await asyncio.sleep(seconds)
        end = await _read(admins)
        counts = _sum(sdep, end, since=begin)
        under_way += _under_way(sdep, end)
        after = await kube.get(SELDON_DEPLOYMENT, name, namespace=namespace)
        notes = _notes(end, is_changed=_traffic(obj) != _traffic(after))
        lasted_s = end.at_s - begin.at_s
    else:
        counts, lasted_s = _sum(sdep, begin, since=None), begin.uptime_s
        notes = (*_notes(begin, is_changed=False), "other percentages before count too: --for 30s looks at now")
    found = shares(sdep, counts, _traffic(obj).get("effective") or {}, under_way=under_way)
    return Split(name, namespace, lasted_s, bool(seconds), found, notes)


async def _read(admins: Sequence[Admin]) -> Reading:
    at_s = time.monotonic()
    envoys = await asyncio.gather(*(admin.stats(f"{STATS}|^{UPTIME}$") for admin in admins))
    if not any(envoys):
        raise NotReady("no Envoy of this machine answers: `slipway status` tells; on a cluster, ask its Prometheus")
    return Reading(at_s, tuple(stats if stats and UPTIME in stats else None for stats in envoys))


def _sum(sdep: SeldonDeployment, end: Reading, *, since: Reading | None) -> dict[str, int]:
    found = {predictor.name: 0 for predictor in sdep.predictors}
    for index, stats in enumerate(end.envoys):
        before = since.envoys[index] if since else None
        if stats is None or (since and before is None):
            continue
        if before and stats[UPTIME] < before[UPTIME]:
            raise Failure(f"envoy-{index} was started anew meanwhile, its counts with it: ask again")
        old = requests_by_predictor(sdep, before) if before else {}
        for name, count in requests_by_predictor(sdep, stats).items():
            found[name] += max(count - old.get(name, 0), 0)
    return found


def _under_way(sdep: SeldonDeployment, reading: Reading) -> int:
    return sum(copies_under_way(sdep, stats) for stats in reading.envoys if stats)


def _notes(reading: Reading, *, is_changed: bool) -> tuple[str, ...]:
    away = [
        f"envoy-{index} does not answer: its requests are missing"
        for index, one in enumerate(reading.envoys)
        if one is None
    ]
    return (*away, *(["the shares changed while they were watched"] if is_changed else []))


def _traffic(obj: Mapping[str, Any]) -> Mapping[str, Any]:
    return (obj.get("status") or {}).get("traffic") or {}
