"""``slipway model promote``: an alias is moved, and it is known by whom and why."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict

import aiohttp
import click

from slipway.cli.registry import registry_address
from slipway.cli.usage import WrongUse
from slipway.contract.following import printable
from slipway.registry import (
    AliasMove,
    InvalidModelUri,
    InvalidMove,
    ModelReference,
    RegistryAddress,
    RegistryError,
    RegistryUnavailable,
    move_alias,
    parse_model_reference,
    present_user,
)

FAILED, NOT_READY = 1, 3
CHAMPION = "champion"


class PromotionFailed(click.ClickException):
    """One line for the user."""

    exit_code = FAILED


class RegistryAway(PromotionFailed):
    """The registry does not answer."""

    exit_code = NOT_READY


@click.command("promote")
@click.argument("name")
@click.argument("version")
@click.option("--alias", default=CHAMPION, show_default=True, help="The alias that is to name VERSION.")
@click.option("--why", default="", help="The reason, for those who read the history.")
@click.option("--who", help="In whose name; default the hub's user, else the login's.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def promote(name: str, version: str, alias: str, why: str, who: str | None, *, as_json: bool) -> None:
    """Point an alias of NAME at VERSION, and record who did it and why.

    SeldonDeployments that follow the alias (annotation slipway.dev/follow-alias) start VERSION within seconds and give
    it their requests when it is ready; `slipway rollback` goes back.

    \b
    Examples:
      slipway model promote yolo 3
      slipway model promote yolo 3 --alias challenger --why "mAP 0.91, was 0.88"
    """  # noqa: D301  - click reads the backspace character
    move = point_alias(name, alias, version, who=who or present_user(), why=why)
    click.echo(json.dumps(asdict(move)) if as_json else render_move(move))


def point_alias(name: str, alias: str, version: str, *, who: str, why: str = "") -> AliasMove:
    """Move the alias in the registry that the command line knows; every failure is one line for the user."""
    _refuse_words(name, alias, version)
    registry = registry_address()
    if registry is None:
        raise RegistryAway("no registry is known: `slipway up` starts one, MLFLOW_TRACKING_URI names another")
    try:
        return asyncio.run(_move(registry, name, alias, version, who=who, why=why))
    except InvalidMove as exc:
        raise WrongUse(str(exc)) from exc
    except RegistryUnavailable as exc:
        raise RegistryAway(f"{exc}: is it up? `slipway status` tells") from exc
    except RegistryError as exc:
        raise PromotionFailed(str(exc)) from exc


def _refuse_words(name: str, alias: str, version: str) -> None:
    """Raises WrongUse for what names no alias or version, whatever a registry has."""
    try:
        for reference in (ModelReference(name, alias=alias), ModelReference(name, version)):
            parse_model_reference(str(reference))
    except InvalidModelUri as exc:
        raise WrongUse(str(exc)) from exc


async def _move(registry: RegistryAddress, name: str, alias: str, version: str, *, who: str, why: str) -> AliasMove:
    async with aiohttp.ClientSession() as session:
        return await move_alias(name, alias, version, who=who, why=why, registry=registry, session=session)


def render_move(move: AliasMove) -> str:
    """``models:/yolo@champion  2 → 3  by ann: mAP 0.91``."""
    reason = f": {move.why}" if move.why else ""
    return printable(
        f"models:/{move.name}@{move.alias}  {move.before or 'none'} → {move.version}  by {move.who}{reason}"
    )
