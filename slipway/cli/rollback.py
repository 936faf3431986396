"""``slipway rollback``: the version before serves again, and the alias names it again."""

from __future__ import annotations

import json

import aiohttp
import click

from slipway.cli.objects import NOT_READY, Failure, namespace_option, run
from slipway.cli.promote import render_move
from slipway.cli.registry import registry_address
from slipway.contract.following import printable
from slipway.kube.client import Kube
from slipway.registry import RegistryError, present_user
from slipway.release import ReleaseError, RollbackTimeout, RolledBack, roll_back


class NotSwitched(Failure):
    """It was asked for and is not done yet."""

    exit_code = NOT_READY


@click.command("rollback")
@click.argument("name")
@namespace_option
@click.option("--predictor", metavar="NAME", help="Which, where several follow an alias.")
@click.option("--to-version", metavar="VERSION", help="Rather than the one before: a version that still runs.")
@click.option("--why", default="", help="The reason, for those who read the history.")
@click.option("--who", help="In whose name; default the hub's user, else the login's.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def rollback_command(
    name: str,
    namespace: str | None,
    predictor: str | None,
    to_version: str | None,
    why: str,
    who: str | None,
    *,
    as_json: bool,
) -> None:
    """Let the version before serve again at once, and point the alias at it again.

    For predictors that follow an alias (annotation slipway.dev/follow-alias): the version before still runs, so that
    going back is a switch and not a start. Traffic goes first; where the registry does not answer, the old version serves
    all the same, and what moves the alias later is printed.

    \b
    Examples:
      slipway rollback yolo
      slipway rollback yolo -n team-a --predictor stable --why "too many boxes at night"
    """  # noqa: D301  - click reads the backspace character

    async def back(kube: Kube) -> RolledBack:
        async with aiohttp.ClientSession() as session:
            return await roll_back(
                name,
                namespace=namespace or kube.access.namespace,
                kube=kube,
                registry=registry_address(),
                session=session,
                who=who or present_user(),
                why=why,
                predictor=predictor,
                to_version=to_version,
                on_plan=lambda line: click.echo(printable(line), err=as_json),
            )

    try:
        done = run(back)
    except RollbackTimeout as exc:
        raise NotSwitched(str(exc)) from exc
    except (ReleaseError, RegistryError) as exc:
        raise Failure(str(exc)) from exc
    click.echo(json.dumps(as_object(done)) if as_json else render(done))
    if done.alias_error:
        raise Failure(printable(done.alias_error))


def as_object(done: RolledBack) -> dict[str, object]:
    return {
        "predictor": done.plan.state.predictor,
        "plan": done.plan.line,
        "revision": done.plan.target.name,
        "versions": done.plan.target.versions,
        "switchedAfterS": round(done.switched_after_s, 3),
        "moves": [{"name": move.name, "alias": move.alias, "version": move.version} for move in done.moves],
        "aliasError": done.alias_error,
    }


def render(done: RolledBack) -> str:
    """When it served, and what the aliases name now."""
    lines = [f"{done.plan.state.predictor}: {done.plan.target.name} serves after {done.switched_after_s:.2f} s"]
    return "\n".join([*lines, *map(render_move, done.moves)])
