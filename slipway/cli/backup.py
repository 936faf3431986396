"""``slipway backup`` and ``slipway restore``: a platform as one file, and back."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click

from slipway.cli.ending import term_is_interrupt
from slipway.onebox.backup.errors import BackupError
from slipway.onebox.backup.make import Made, Report, make_backup
from slipway.onebox.backup.restore import check_backup, restore_backup
from slipway.onebox.images.reference import parse_reference
from slipway.onebox.paths import Paths
from slipway.onebox.settings import SettingsError
from slipway.onebox.supervisor.errors import SupervisorError

KNOWN_ERRORS = (BackupError, SettingsError, SupervisorError)
SHOWN = 10
MIB = 1 << 20


@click.command("backup")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--without-environments", is_flag=True, help="Leave out what images can be built anew from (network).")
@click.option("--replace", is_flag=True, help="Let FILE take the place of one that is there.")
@click.option("--quiet", "-q", is_flag=True, help="Print warnings only.")
def backup_command(file: Path, *, without_environments: bool, replace: bool, quiet: bool) -> None:
    """Write everything that this platform keeps to FILE, while it serves.

    Models and their versions, applied objects, hub users with their files, volumes, images, settings and secrets: all
    that is needed to go on elsewhere, without a network. FILE is as secret as SLIPWAY_HOME, and readable by you only.
    It appears when it is whole.

    \b
    Examples:
      slipway backup /srv/backups/slipway.tar.gz
      slipway backup --quiet /srv/backups/slipway-$(date +%F).tar.gz
      slipway backup --without-environments small.tar.gz
    """  # noqa: D301  - click reads the backspace character
    if not file.parent.is_dir():
        raise click.BadParameter(f"{file.parent}: no such folder", param_hint="FILE")
    began_s = time.monotonic()
    with _followed(quiet=quiet) as report:
        made = make_backup(
            Paths.from_env(), file, with_environments=not without_environments, replace=replace, report=report
        )
    _warn(made)
    if not quiet:
        size, took_s = made.file_bytes / MIB, time.monotonic() - began_s
        click.echo(f"{file}: {size:.1f} MiB, {made.members} members, {took_s:.1f} s; it holds this platform's secrets")


@click.command("restore")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--check", "only_check", is_flag=True, help="Read FILE to its end and compare it; restore nothing.")
@click.option("--quiet", "-q", is_flag=True, help="Print errors only.")
def restore_command(file: Path, *, only_check: bool, quiet: bool) -> None:
    """Make a platform of the backup FILE in SLIPWAY_HOME, which must be empty or not there.

    FILE is compared with its checksums before anything is written. Then `slipway up` starts what ran, on the ports that
    it had or on those that you name. A backup holds programs and secrets: restore only those that you trust.

    \b
    Examples:
      slipway restore /srv/backups/slipway.tar.gz
      SLIPWAY_HOME=/srv/slipway slipway restore slipway.tar.gz
      slipway restore --check slipway.tar.gz
    """  # noqa: D301  - click reads the backspace character
    began_s = time.monotonic()
    paths = Paths.from_env()
    with _followed(quiet=quiet) as report:
        if only_check:
            checked = check_backup(file, report=report)
            unbuilt: list[str] = []
        else:
            unbuilt = restore_backup(file, paths, report=report)
    if quiet:
        return
    if only_check:
        header = checked.header
        click.echo(
            f"{file}: whole: {checked.members} members, {checked.content_bytes / MIB:.1f} MiB; made {header.made} of "
            f"{header.home} by Slipway {header.release}"
        )
        return
    click.echo(f"{paths.home}: restored after {time.monotonic() - began_s:.1f} s; start it with: slipway up")
    if unbuilt:
        click.echo("images to build, because the backup has no environments (`slipway up` builds its own):")
    for image in unbuilt:
        click.echo(f"  {parse_reference(image).build_command}")


@contextmanager
def _followed(*, quiet: bool) -> Iterator[Report]:
    """Steps and bars on stderr; failures in one line, with everything half-made removed, on Ctrl-C and TERM too."""
    try:
        with term_is_interrupt(), ExitStack() as bars:
            yield Report() if quiet else _shown(bars)
    except KNOWN_ERRORS as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt as error:
        raise click.ClickException("interrupted; nothing was left half-made") from error


def _shown(bars: ExitStack) -> Report:
    """The last step is the label of the bar that follows; without a terminal there are only the steps."""
    report, steps = Report(), [""]

    def say(step: str) -> None:
        bars.close()
        steps.append(step)
        click.echo(step, err=True)

    def total(size: int) -> None:
        bars.close()
        if sys.stderr.isatty():
            bar = bars.enter_context(click.progressbar(length=size, label=steps[-1], file=sys.stderr))
            report.advance = bar.update

    report.say, report.total = say, total
    return report


def _warn(made: Made) -> None:
    for name in made.changed[:SHOWN]:
        click.echo(f"warning: {name}: was written to while it was copied", err=True)
    for name, why in list(made.left_out.items())[:SHOWN]:
        click.echo(f"warning: {name}: left out: {why}", err=True)
    more = max(0, len(made.changed) - SHOWN) + max(0, len(made.left_out) - SHOWN)
    if more:
        click.echo(f"warning: and {more} more of these", err=True)
