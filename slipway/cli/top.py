"""``slipway top``: what every predictor and Pod does at this moment."""

from __future__ import annotations

import asyncio
import itertools
import json
import sys

import click

from slipway.cli.objects import namespace_option, run
from slipway.cli.top_figures import Top, render_top, top
from slipway.cli.top_look import look
from slipway.kube.client import Kube
from slipway.onebox.mesh.admin import Admin
from slipway.onebox.mesh.layout import ENVOYS, Layout
from slipway.onebox.paths import Paths

HOME_AND_CLEAR = "\x1b[H\x1b[J"
ANSWER_S = 5.0
"""How long an Envoy is waited for."""
MIN_EVERY_S, MAX_EVERY_S = 0.5, 3600.0


@click.command("top")
@click.option("--once", is_flag=True, help="Print one picture and end, for scripts.")
@click.option(
    "--every",
    "every_s",
    type=click.FloatRange(MIN_EVERY_S, MAX_EVERY_S),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="Time between two pictures, over which rates are taken.",
)
@click.option("--json", "as_json", is_flag=True, help="Print each picture as one line of JSON.")
@namespace_option
def top_command(every_s: float, namespace: str | None, *, once: bool, as_json: bool) -> None:
    """Show requests, latency, errors, processor and memory of every predictor and Pod, until Ctrl-C.

    Of all namespaces, or of one. Requests and 5XX are counted at this machine's gateway, retries once; P50 and P99 are
    of the last 5 seconds there (Envoy's histogram: linear inside a bucket); IN_FLIGHT are at the predictor and not
    answered yet, QUEUE wait in the gateway for a connection. CPU is in processors, PSS is memory with shared pages divided
    among their users.

    \b
    Examples:
      slipway top
      slipway top -n team-a --every 5
      slipway top --once --json | jq '.predictors[] | {predictor, requests_per_s}'
    """  # noqa: D301  - click reads the backspace character

    def show(picture: Top) -> None:
        if as_json:
            click.echo(json.dumps(picture.as_json()))
        elif once or not sys.stdout.isatty():
            click.echo(render_top(picture) + ("" if once else "\n"))
        else:
            click.echo(f"{HOME_AND_CLEAR}{render_top(picture)}", color=True)

    async def watch(kube: Kube) -> None:
        paths = Paths.from_env()
        admins = [Admin(Layout(paths).admin_socket(index), timeout_s=ANSWER_S) for index in ENVOYS]
        before = await look(kube, admins, paths, namespace=namespace)
        for _ in range(1) if once else itertools.count():
            await asyncio.sleep(every_s)
            now = await look(kube, admins, paths, namespace=namespace)
            show(top(before, now))
            before = now

    try:
        run(watch)
    except KeyboardInterrupt:
        click.echo(err=True)
