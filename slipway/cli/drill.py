"""``slipway drill``: real load while parts of the platform die, and a table of what was lost."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path

import click

from slipway.cli.columns import render_columns
from slipway.cli.ending import term_is_interrupt
from slipway.cli.objects import Failure, run
from slipway.cli.platform import KNOWN_ERRORS, PartList
from slipway.cli.usage import Written
from slipway.drill.drills import DRILLS, SWITCHES, chosen
from slipway.drill.errors import DrillError
from slipway.drill.run import Plan, hold
from slipway.drill.site import Site
from slipway.drill.subject import Models
from slipway.drill.table import as_object, render
from slipway.drill.verdict import Row
from slipway.kube.client import Kube
from slipway.onebox.paths import Paths
from slipway.onebox.services.wait import NotUpError

SMALLEST_BYTES, LARGEST_BYTES = 40_000, 1_000_000
"""Photos as phones and cameras send them."""
MAX_PHOTOS = 64
DEFAULTS = Models()
SIZE = Written("WxH", re.compile(r"[1-9]\d{1,3}x[1-9]\d{1,3}"), "width and height in pixels, such as 416x416")


@click.command("drill")
@click.option("--photos", "folder", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="DIR")
@click.option("--list", "lists", is_flag=True, help="Show every drill with its control, and hold none.")
@click.option("--only", type=PartList(tuple(drill.name for drill in DRILLS)), default=(), metavar="DRILL,…")
@click.option("--without", type=PartList(tuple(SWITCHES)), default=(), metavar="SWITCH,…")
@click.option("--requests", type=click.IntRange(10, 10_000_000), default=2000, show_default=True, help="Per drill.")
@click.option(
    "--rate",
    type=click.FloatRange(0.1, 10_000),
    help="Requests a second; else 70 % of what the replica that is left does.",
)
@click.option("--model", default=DEFAULTS.present, show_default=True, help="A registered detector.")
@click.option("--next-model", default=DEFAULTS.following, show_default=True, help="Another one, to roll to.")
@click.option("--size", default=DEFAULTS.size, show_default=True, type=SIZE, help="What their input measures.")
@click.option("-o", "output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write the JSON there too."
)
@click.option("--keep", is_flag=True, help="Leave the namespace slipway-drill behind.")
def drill_command(
    folder: Path | None,
    only: tuple[str, ...],
    without: tuple[str, ...],
    requests: int,
    rate: float | None,
    model: str,
    next_model: str,
    size: str,
    output: str,
    out: Path | None,
    *,
    lists: bool,
    keep: bool,
) -> None:
    """Break this platform piece by piece under load, and count what is lost.

    A SeldonDeployment of its own (namespace slipway-drill: transformer → detector, two replicas) gets photos in an open
    loop. Lost is a request without a valid reply in 10 s, wrong is one whose boxes differ from the same photo's at rest.
    Exit code 1 where a promise is broken. DIR holds JPEGs; those of 40 KB to 1 MB are sent.

    --without is the negative control: with retries, say, switched off, the drills that --list names must lose.

    \b
    Examples:
      slipway drill --list
      slipway drill --photos photos/
      slipway drill --photos photos/ --only pod,executor --requests 20000 --out drill.json
      slipway drill --photos photos/ --only pod --without retries
    """  # noqa: D301  - click reads the backspace character
    if lists:
        click.echo(_listed())
        return
    if folder is None:
        raise click.UsageError("say which photos: --photos DIR with JPEGs of 40 KB to 1 MB")
    models = Models(present=model, following=next_model, size=size)
    plan = Plan(_photos(folder), models, requests=requests, rate=rate or 0.0, without=frozenset(without))
    rows = _held(only, plan, keep=keep)
    facts = {"without": sorted(plan.without), "photos": len(plan.photos), "cpus": os.cpu_count(), "at": _now()}
    text = json.dumps(as_object(rows, **facts), indent=2)
    if out is not None:
        out.write_text(f"{text}\n")
    click.echo(text if output == "json" else render(rows))
    if broken := [row.drill for row in rows if not row.is_kept]:
        raise Failure(f"promises are broken in {', '.join(broken)}")


def _held(only: tuple[str, ...], plan: Plan, *, keep: bool) -> list[Row]:
    async def hold_them(kube: Kube) -> list[Row]:
        site = Site(kube, Paths.from_env())
        try:
            return await hold(site, chosen(only), plan, say=lambda line: click.echo(line, err=True))
        finally:
            if not keep:
                await site.remove()

    try:
        with term_is_interrupt():
            return run(hold_them)
    except KeyboardInterrupt as exc:
        raise Failure("interrupted; " + ("the drills' deployment stays" if keep else "nothing of it stays")) from exc
    except (DrillError, NotUpError, *KNOWN_ERRORS) as exc:
        raise Failure(str(exc)) from exc


def _photos(folder: Path) -> tuple[str, ...]:
    """The JPEGs of a fitting size, in the order of their names."""
    names = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".jpeg"))
    fitting = [path for path in names if SMALLEST_BYTES <= path.stat().st_size <= LARGEST_BYTES]
    if not fitting:
        raise click.UsageError(f"{folder}: no .jpg of {SMALLEST_BYTES} to {LARGEST_BYTES} bytes among {len(names)}")
    return tuple(str(path.resolve()) for path in fitting[:MAX_PHOTOS])


def _listed() -> str:
    rows = [(drill.name, drill.what, ",".join(sorted(drill.control))) for drill in DRILLS]
    switches = [f"  {name:<10} {what}" for name, what in SWITCHES.items()]
    return "\n".join([render_columns([("DRILL", "WHAT", "LOSES WITHOUT"), *rows]), "", *switches])


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
