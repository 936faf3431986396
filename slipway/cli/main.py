"""The ``slipway`` command: each sub-command's module is imported only when it is asked for."""

from __future__ import annotations

import errno
import importlib
import sys
import traceback
from types import ModuleType
from typing import Any

import click

# command → (module below slipway.cli, one line of help). The module holds a click command of the same name
# (`get` is `get_command` where the plain name would shadow a builtin).
COMMANDS: dict[str, tuple[str, str]] = {
    "up": ("platform", "Start the platform on this machine."),
    "down": ("platform", "Stop the platform, in reverse order."),
    "status": ("platform", "Show each process and each SeldonDeployment."),
    "apply": ("apply", "Apply manifests: files, folders or kustomizations."),
    "plan": ("plan", "Say what an apply would change, and which Pods restart."),
    "check": ("check", "Check manifests offline, before anything is applied."),
    "render": ("render", "Print what the controller makes of a SeldonDeployment, or a form that needs none."),
    "get": ("objects", "List objects of a kind, or show one."),
    "describe": ("objects", "Show one object with its conditions and events."),
    "logs": ("objects", "Print a Pod's logs."),
    "delete": ("objects", "Delete objects."),
    "crd": ("crd", "Print or install the definition of SeldonDeployments."),
    "split": ("split", "Show what share of the requests each predictor got."),
    "access": ("access", "Show what came through the gateway: who answered, how, how fast."),
    "top": ("top", "Show requests, latency, processor and memory of every predictor and Pod."),
    "drill": ("drill", "Break the platform under load and count what is lost."),
    "doctor": ("doctor", "Say what of a cluster is to be fixed before Slipway runs there."),
    "rollback": ("rollback", "Let the version before serve again, and move its alias back."),
    "backup": ("backup", "Write everything that this platform keeps to one file."),
    "restore": ("backup", "Make a platform of a backup, in an empty SLIPWAY_HOME."),
    "hub": ("hub", "Remove a user of the hub."),
    "tenant": ("tenant", "Add, list and remove teams."),
    "image": ("images", "Build and list local images."),
    "model": ("models", "Register, list and pull model versions."),
}


class LazyGroup(click.Group):
    """Imports a command's module on first use, so that `slipway --help` stays fast; turns failures into one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module = _module_of(cmd_name)
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """One line for every failure, expected or not; its traceback with --debug only."""
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.Abort, click.UsageError):
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno == errno.EPIPE:  # `slipway get … | head`: click ends quietly
                raise
            if ctx.params["debug"]:
                traceback.print_exception(error)
            if isinstance(error, click.ClickException):
                raise
            raise click.ClickException(_in_one_line(error)) from error


def _module_of(command: str) -> ModuleType:
    """A notebook's image has the package, and of its dependencies only those of the other commands."""
    name = COMMANDS[command][0]
    try:
        return importlib.import_module(f"slipway.cli.{name}")
    except ModuleNotFoundError as error:
        if (
            name not in ("access", "drill", "hub", "platform", "split", "top")
            or (error.name or "").partition(".")[0] == "slipway"
        ):
            raise
        raise click.ClickException(
            f"`slipway {command}` is for whoever runs the platform, whose packages are not installed here "
            f"({error.name}); `slipway get sdep` shows what you deployed"
        ) from error


def _in_one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror}"
    return f"{type(error).__name__}: {error}: `slipway --debug …` shows where"


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="When something fails, also print where in the program.")
@click.version_option(package_name="slipway")
def main(*, debug: bool) -> None:
    """Take a Darknet model from a notebook to a canary.

    Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not ready.

    \b
    Examples:
      slipway up
      slipway apply -k seldon/overlays/canary
      slipway get sdep
    """  # noqa: D301  - click reads the backspace character


if __name__ == "__main__":
    sys.exit(main())
