"""``slipway plan``: what an apply would change, down to the Pods that restart."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

import aiohttp
import click

from slipway.cli.objects import Failure, namespace_option, read_manifests, run
from slipway.cli.plan_effects import ObjectPlan, render_plan
from slipway.cli.plan_images import store_of
from slipway.cli.plan_look import Planner
from slipway.cli.registry import registry_address
from slipway.cli.usage import files_option, kustomization_option
from slipway.controller.settings import ONE_MACHINE, Settings
from slipway.kube.client import Kube
from slipway.kube.discovery import is_one_machine
from slipway.kube.manifests import in_order
from slipway.onebox.paths import Paths

CHANGES = 4
Object = dict[str, Any]


@click.command("plan")
@files_option
@kustomization_option
@click.option("-o", "output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--exit-code", is_flag=True, help=f"End with {CHANGES} where something would change.")
@namespace_option
def plan_command(
    files: tuple[str, ...], kustomization: str | None, output: str, namespace: str | None, *, exit_code: bool
) -> None:
    """Say what `slipway apply` of the same manifests would change; nothing is stored.

    The API is asked with a dry run, so that what it would refuse is refused here. For a SeldonDeployment also: the
    objects that the controller would make, change and delete, what the API would refuse of them, the Pods that restart and why, the declared traffic
    before and after, the model versions that the registry names now, and on one machine the images that nobody has
    built yet and what its mesh would not carry out. On a cluster the controller's default settings are assumed.

    Exit codes: 0 done, 1 refused, 2 wrong usage, 3 the API is not there; with --exit-code 4 where something would change.

    \b
    Examples:
      slipway plan -f deployment.yaml
      slipway plan -k seldon/overlays/canary
      slipway plan -k seldon/overlays/canary --exit-code || echo "not as in git"
    """  # noqa: D301  - click reads the backspace character
    if not files and not kustomization:
        raise click.UsageError("say what to plan: -f FILE, -f DIR or -k DIR")
    objects = in_order(read_manifests(files, kustomization))
    if not objects:
        raise Failure(
            f"nothing to plan in {', '.join(files) or kustomization}: a folder with a kustomization goes with -k"
        )
    plans = run(lambda kube: _plan(kube, objects, namespace))
    click.echo(json.dumps([plan.as_json() for plan in plans], indent=2) if output == "json" else render_plan(plans))
    if exit_code and not all(plan.is_empty for plan in plans):
        sys.exit(CHANGES)


async def _plan(kube: Kube, objects: Sequence[Object], namespace: str | None) -> list[ObjectPlan]:
    async with aiohttp.ClientSession() as session:
        is_here = await is_one_machine(kube)
        settings, images = (ONE_MACHINE, store_of(kube, Paths.from_env())) if is_here else (Settings(), None)
        planner = Planner(kube, registry_address(), session, namespace or kube.access.namespace, settings, images)
        return await planner.plan(objects)
