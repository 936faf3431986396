"""``slipway up``, ``down`` and ``status``: the processes of this machine."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import sys
import time
from collections.abc import Collection, Mapping

import click

from slipway.kube.errors import KubeError
from slipway.onebox.images.errors import ImageError
from slipway.onebox.paths import Paths
from slipway.onebox.services.folders import exclusive
from slipway.onebox.services.hub import processes as hub
from slipway.onebox.services.hub.install import ProxyError
from slipway.onebox.services.hub.install import install as install_hub
from slipway.onebox.services.hub.names import ADMIN
from slipway.onebox.services.platform import OBJECTS, OPTIONAL, PARTS
from slipway.onebox.services.platform_objects import apply_all
from slipway.onebox.services.secrets import ensure_secrets
from slipway.onebox.services.start import Platform, PlatformError, UnknownPart, names_of, prepare, request
from slipway.onebox.services.status import Status, observe, render_status
from slipway.onebox.services.wait import NotUpError, await_ready, stop
from slipway.onebox.settings import HOST, Settings, SettingsError, load_settings
from slipway.onebox.supervisor.errors import SupervisorError
from slipway.onebox.supervisor.state import ProcessState, load_states

NOT_READY = 3
KNOWN_ERRORS = (PlatformError, SettingsError, SupervisorError, ImageError, ProxyError)
WITH_HELP = "Start this optional part (hub) too, now and later."
SHARED_USER = (
    "note: the hub's users are all the same user of this machine, you: each can read the others' files and the\n"
    "platform's secrets. Let in only people whom you trust with them, or see docs/hub.md"
)
INTERRUPTED = "interrupted; what has been asked for goes on: `slipway status` shows it, `slipway down` stops it"


class PartList(click.ParamType[tuple[str, ...]]):
    """``mlflow,s3`` → its words."""

    name = "parts"

    def __init__(self, parts: tuple[str, ...] = PARTS) -> None:
        self._parts = parts

    def convert(
        self, value: str | tuple[str, ...], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        words = tuple(word.strip() for word in value.split(",") if word.strip())
        if unknown := sorted(set(words) - set(self._parts)):
            self.fail(f"{', '.join(unknown)}: there are {', '.join(self._parts)}", param, ctx)
        return words


@click.command("up")
@click.option("--gateway-port", type=click.IntRange(1, 65535), help="Predictions and the page; first 8080.")
@click.option("--api-port", type=click.IntRange(1, 65535), help="The Kubernetes API; first 8001.")
@click.option("--mlflow-port", type=click.IntRange(1, 65535), help="MLflow; first 5000.")
@click.option("--s3-port", type=click.IntRange(1, 65535), help="S3; first 8333.")
@click.option("--hub-port", type=click.IntRange(1, 65535), help="JupyterHub; first 8000.")
@click.option("--with", "with_parts", type=PartList(OPTIONAL), default=(), metavar="PART,…", help=WITH_HELP)
@click.option("--only", type=PartList(), default=(), metavar="PART,…", help="Start these and what they need.")
@click.option("--without", type=PartList(), default=(), metavar="PART,…", help="Start all but these.")
def up_command(
    with_parts: tuple[str, ...], only: tuple[str, ...], without: tuple[str, ...], **ports: int | None
) -> None:
    """Start the platform on this machine, or what of it does not run.

    Each process is shown when it is ready, with its seconds; one that was so before, without. Objects of the platform
    that are missing (namespaces, the Gateway) are made anew. Ports are remembered in SLIPWAY_HOME/settings.json, and so
    is JupyterHub once it was chosen, until `--without hub`.

    \b
    Examples:
      slipway up
      slipway up --with hub
      slipway up --gateway-port 9090
      slipway up --without mlflow,s3
    """  # noqa: D301  - click reads the backspace character
    _refuse_same(ports)
    began_s, began_at = time.monotonic(), time.time()
    try:
        paths = Paths.from_env()
        with exclusive(paths):
            platform = prepare(paths, ports, with_parts=with_parts, without=without)
        if has_hub := hub.PART in only or (platform.settings.with_hub and not only):
            install_hub(paths, progress=click.echo)
        with exclusive(paths):
            wish = request(platform, only=only, without=without)
        is_same_source = await_ready(platform, wish, on_ready=lambda state: _say_ready(state, began_at))
        if OBJECTS in wish.names:
            asyncio.run(apply_all(paths, only_missing=True, on_applied=_say_made))
    except (*KNOWN_ERRORS, NotUpError, KubeError) as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt as error:
        raise click.ClickException(INTERRUPTED) from error
    click.echo(f"up after {time.monotonic() - began_s:.1f} s\n")
    if not is_same_source:
        click.echo("note: these processes were started by another version: `slipway down`, then `slipway up`\n")
    parts = {spec.part for spec in platform.specs if spec.name in wish.names}
    click.echo(render_addresses(platform.paths, platform.settings, parts))
    if has_hub and os.getuid() != 0:
        click.echo(f"\n{SHARED_USER}")


def _refuse_same(ports: Mapping[str, int | None]) -> None:
    """Raises UsageError where two options name one port; one that is remembered is compared later."""
    chosen = [(f"--{name.replace('_', '-')}", port) for name, port in ports.items() if port is not None]
    for index, (option, port) in enumerate(chosen):
        for other, taken in chosen[:index]:
            if port == taken:
                raise click.UsageError(f"{other} and {option} are both {port}: each listens on a port of its own")


@click.command("down")
@click.argument("parts", nargs=-1, metavar="[PART]...")
def down_command(parts: tuple[str, ...]) -> None:
    """Stop the platform in reverse start order, or some parts of it; `slipway up` brings them back.

    \b
    Examples:
      slipway down
      slipway down mlflow s3 postgres
    """  # noqa: D301  - click reads the backspace character
    paths = Paths.from_env()
    try:
        if not paths.run.exists():
            names_of((), parts)
            click.echo("nothing was running")
            return
        platform = Platform(paths, load_settings(paths.settings), ensure_secrets(paths.secrets))
        specs = platform.specs
        running = load_states(paths.run)
        names = names_of(specs, parts) if parts else frozenset({spec.name for spec in specs} | running.keys())
        stop(platform, names, on_stopped=lambda name, took_s: click.echo(f"{name:<20} stopped {took_s:6.1f} s"))
    except UnknownPart as error:
        raise click.UsageError(str(error)) from error
    except KNOWN_ERRORS as error:
        raise click.ClickException(str(error)) from error
    click.echo("stopped" if running.keys() & names else "nothing was running")


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="The same as one JSON object.")
def status_command(*, as_json: bool) -> None:
    """Show each process and each SeldonDeployment; exit code 3 when something is not ready.

    Readiness is asked of each process at this moment, in its own protocol. PSS is memory, with shared pages divided
    among their users.

    \b
    Examples:
      slipway status
      slipway status --json | jq '.pss_bytes'
    """  # noqa: D301  - click reads the backspace character
    paths = Paths.from_env()
    try:
        status: Status = observe(paths)
    except KNOWN_ERRORS as error:
        raise click.ClickException(str(error)) from error
    click.echo(json.dumps(status.as_json(), indent=2) if as_json else render_status(status))
    if not status.is_ready:
        sys.exit(NOT_READY)


def render_addresses(paths: Paths, settings: Settings, parts: Collection[str]) -> str:
    """What to open, and what to type next, of those ``parts`` that were asked for."""
    password = paths.secrets / "hub-admin-password"
    rows = [
        ("envoy", "gateway", f"http://{HOST}:{settings.gateway_port}", "predictions, REST and gRPC; a page at /"),
        (
            "api",
            "API",
            f"https://{HOST}:{settings.api_port}",
            f"export KUBECONFIG={shlex.quote(str(paths.kubeconfig))}",
        ),
        ("mlflow", "MLflow", f"http://{HOST}:{settings.mlflow_port}", f"user admin, password in {paths.mlflow_env}"),
        ("s3", "S3", f"http://{HOST}:{settings.s3_port}", f"set -a; . {shlex.quote(str(paths.mlflow_env))}"),
        (hub.PART, "hub", f"http://{HOST}:{settings.hub_port}", f"user {ADMIN}, first password in {password}"),
    ]
    shown = [row for part, *row in rows if part in parts]
    return "\n".join(
        f"{name:<8} {address:<28} {note}".rstrip() for name, address, note in (*shown, ("logs", str(paths.logs), ""))
    )


def _say_made(name: str) -> None:
    click.echo(f"{name} was missing: made anew")


def _say_ready(state: ProcessState, began_at: float) -> None:
    """With the seconds it took, where it became ready since ``began_at`` (seconds since the epoch)."""
    took = f"{state.ready_after_s or 0:6.1f} s" if state.since >= began_at else "as before"
    click.echo(f"{state.name:<20} {state.phase:<6} {took}")
