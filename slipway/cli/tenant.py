"""``slipway tenant``: teams, each with a namespace of its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click
import yaml

from slipway.cli.apply import apply_object
from slipway.cli.columns import render_columns
from slipway.cli.objects import Failure, Object, kustomize, run
from slipway.cli.tenant_objects import (
    LABEL,
    LEVELS,
    PRIVILEGED,
    Team,
    TeamError,
    is_taken,
    objects_of,
    parse_quota,
    pod_security,
    refuse_foreign,
    refuse_name,
    why_left_out,
)
from slipway.cli.tenant_training import give_training, take_training
from slipway.kube.client import Kube
from slipway.kube.discovery import UnknownKind, discover, is_one_machine, kind_of_manifest
from slipway.kube.errors import NotFound
from slipway.kube.kinds import NAMESPACE, SELDON_DEPLOYMENT, VIRTUAL_SERVICE, Kind
from slipway.kube.manifests import in_order, parse_manifests
from slipway.onebox.images.build import PLATFORM_ROOT
from slipway.onebox.services.teams import OF_HUB

FOLDER = PLATFORM_ROOT / "seldon" / "team"
ADMISSION = PLATFORM_ROOT / "seldon" / "admission"
"""What Pods of all teams may not be."""
DAEMON_SET = Kind("apps", "v1", "daemonsets", "DaemonSet")
CNI = "k8s-app=istio-cni-node"
"""Label of the Pods and the DaemonSet of Istio's chart ``cni``."""
ADMISSION_POLICY = "ValidatingAdmissionPolicy"


@click.group("tenant")
def tenant_command() -> None:
    """Teams: a namespace, what they may do in it, their share of the machines, and nobody else near their Pods.

    \b
    Examples:
      slipway tenant add blue --group blue-team@example.org
      slipway tenant list
    """  # noqa: D301  - click reads the backspace character


@tenant_command.command("add")
@click.argument("name", metavar="TEAM")
@click.option("--quota", "quotas", multiple=True, metavar="NAME=AMOUNT", help="Instead of the default, or in addition.")
@click.option("--user", "users", multiple=True, metavar="NAME", help="Somebody who may work in the namespace.")
@click.option("--group", "groups", multiple=True, metavar="NAME", help="A group of people who may.")
@click.option(
    "--pod-security",
    "level",
    type=click.Choice(LEVELS),
    help="What the namespace enforces (default: restricted; with Istio's sidecars baseline, where they allow it).",
)
@click.option("--dry-run", is_flag=True, help="Ask the API, store nothing.")
@click.option("-o", "output", type=click.Choice(["yaml"]), help="Print the objects; ask and apply nothing.")
def add_command(
    name: str,
    quotas: Sequence[str],
    users: Sequence[str],
    groups: Sequence[str],
    level: str | None,
    output: str | None,
    *,
    dry_run: bool,
) -> None:
    """Add a team, or bring one up to date; again without harm.

    People are named as the API's log-in names them. The same command with other numbers or people changes them. On one
    machine the team gets an account at MLflow, and the Secret slipway-training that its training Jobs read; on a cluster
    the commands that make them are printed.

    \b
    Examples:
      slipway tenant add blue --group blue-team@example.org
      slipway tenant add blue --quota requests.cpu=32 --quota requests.nvidia.com/gpu=2
      slipway tenant add blue --dry-run
      slipway tenant add blue --pod-security restricted -o yaml > teams/blue.yaml
    """  # noqa: D301  - click reads the backspace character
    try:
        team = Team(name, parse_quota(quotas), users, groups, level or PRIVILEGED)
        rendered, of_all = _rendered(FOLDER), _rendered(ADMISSION)
        objects = in_order([*of_all, *objects_of(team, rendered)])
    except TeamError as error:
        raise click.UsageError(str(error)) from error
    if output:
        click.echo(yaml.safe_dump_all(objects, sort_keys=False), nl=False)
        return
    run(lambda kube: _add(kube, team, (rendered, of_all), level, dry_run=dry_run))


def _rendered(folder: Path) -> Sequence[Object]:
    return parse_manifests(asyncio.run(kustomize(str(folder))), origin=str(folder))


async def _add(
    kube: Kube,
    team: Team,
    given: tuple[Sequence[Object], Sequence[Object]],
    asked: str | None,
    *,
    dry_run: bool,
) -> None:
    """``given``: the objects of a team, and those of all teams together."""
    rendered, of_all = given
    there = await _namespace(kube, team.name)
    served, here = await discover(kube), await is_one_machine(kube)
    has_istio = any(entry.kind.group == VIRTUAL_SERVICE.group for entry in served) and not here
    has_cni = has_istio and await _has_cni(kube)
    has_policies = any(entry.kind.kind == ADMISSION_POLICY for entry in served)
    level, why_not = pod_security(asked, has_istio=has_istio, has_cni=has_cni, has_policies=has_policies)
    objects = in_order([*of_all, *objects_of(replace(team, pod_security=level), rendered)])
    for item in objects:
        label = f"{item['kind'].lower()}/{item['metadata']['name']}"
        try:
            kind: Kind | None = kind_of_manifest(served, item)
        except UnknownKind:
            kind = None
        if why := why_left_out(item, is_served=kind is not None, is_one_machine=here):
            click.echo(f"{label} left out: {why}")
        elif dry_run and there is None and item["kind"] != NAMESPACE.kind:
            click.echo(f"{label} would be created (dry run)")  # nothing can be tried in a namespace that is not there
        elif kind is not None:
            place = item["metadata"].get("namespace")
            click.echo(await apply_object(kube, item, kind, namespace=place, dry_run=dry_run))
    if why_not:
        click.echo(f"pod security {why_not}")
    for line in await give_training(kube, team.name, here=here, dry_run=dry_run):
        click.echo(line)


async def _has_cni(kube: Kube) -> bool:
    return bool((await kube.list(DAEMON_SET, label_selector=CNI)).items)


async def _namespace(kube: Kube, name: str) -> Object | None:
    """The team's, where there is one. Raises Failure for somebody else's."""
    try:
        found: Object | None = await kube.get(NAMESPACE, name)
    except NotFound:
        found = None
    try:
        refuse_foreign(found, name)
    except TeamError as error:
        raise Failure(str(error)) from error
    return found


@tenant_command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def list_command(*, as_json: bool) -> None:
    """List the teams, each with the number of its SeldonDeployments.

    \b
    Examples:
      slipway tenant list
      slipway tenant list --json | jq -r '.[].name'
    """  # noqa: D301  - click reads the backspace character
    rows = run(_teams)
    if as_json:
        click.echo(json.dumps(rows))
    elif rows:
        cells = [[str(cell) for cell in row.values()] for row in rows]
        click.echo(render_columns([("TEAM", "STATUS", "SELDONDEPLOYMENTS"), *cells]))
    else:
        click.echo("no tenants: `slipway tenant add TEAM` adds one", err=True)


async def _teams(kube: Kube) -> list[Object]:
    rows = []
    for item in (await kube.list(NAMESPACE, label_selector=f"{LABEL}=true")).items:
        name = item["metadata"]["name"]
        if is_taken(name):
            continue
        theirs = (await kube.list(SELDON_DEPLOYMENT, namespace=name)).items
        phase = (item.get("status") or {}).get("phase", "")
        rows.append({"name": name, "status": phase, "seldonDeployments": len(theirs)})
    return rows


@tenant_command.command("remove")
@click.argument("name", metavar="TEAM")
@click.option("--yes", is_flag=True, help="Do not ask.")
def remove_command(name: str, *, yes: bool) -> None:
    """Delete a team's namespace with all that runs in it, and on one machine its MLflow account. Models and runs stay.

    \b
    Examples:
      slipway tenant remove blue
      slipway tenant remove blue --yes
    """  # noqa: D301  - click reads the backspace character
    try:
        refuse_name(name)
    except TeamError as error:
        raise click.UsageError(str(error)) from error
    run(lambda kube: _remove(kube, name, asks=not yes))


async def _remove(kube: Kube, name: str, *, asks: bool) -> None:
    if await _namespace(kube, name) is None:
        raise Failure(f"{name}: there is no such tenant; `slipway tenant list` shows them")
    here = await is_one_machine(kube)
    if name.startswith(OF_HUB) and here:
        raise Failure(
            f"{name}: a user of the hub, who has keys and files too: `slipway hub remove {name[len(OF_HUB) :]}`"
        )
    theirs = [item["metadata"]["name"] for item in (await kube.list(SELDON_DEPLOYMENT, namespace=name)).items]
    if asks:
        click.confirm(f"Delete the namespace {name} with {_said(theirs)} and all else that is in it?", abort=True)
    told = await take_training(kube, name, here=here)
    await kube.delete(NAMESPACE, name)
    for line in (f"namespace/{name} deleted", *told):
        click.echo(line)


def _said(names: Sequence[str]) -> str:
    return f"the SeldonDeployments {', '.join(names)}" if names else "no SeldonDeployment"
