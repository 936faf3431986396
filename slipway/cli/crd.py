"""``slipway crd``: the CustomResourceDefinition of SeldonDeployments, printed or installed."""

from __future__ import annotations

import click

from slipway.cli.objects import Failure, run
from slipway.contract.controller_id import NO_ID, check_id
from slipway.crd.definition import definition, render
from slipway.crd.install import Outcome, install, look
from slipway.crd.words import compared, newer, told
from slipway.kube.client import Kube


@click.group("crd", invoke_without_command=True)
@click.pass_context
def crd_command(context: click.Context) -> None:
    """Print the definition of SeldonDeployments that a cluster needs, or install it.

    \b
    Examples:
      slipway crd
      slipway crd | kubectl diff -f -
      slipway crd install
    """  # noqa: D301  - click reads the backspace character
    if context.invoked_subcommand is None:
        click.echo(render(definition()), nl=False)


@crd_command.command("install")
@click.option(
    "--adopt-crd", is_flag=True, help="Replace another's definition, after every object that changes is listed."
)
@click.option("--yes", is_flag=True, help="Do not ask, although objects change.")
@click.option("--controller-id", default=NO_ID, metavar="ID", help="Whose objects are held to every rule of admission.")
def install_command(controller_id: str, *, adopt_crd: bool, yes: bool) -> None:
    """Make the definition on a cluster, or bring ours up to date; another's is left alone, and so is a newer Slipway's.

    Seldon Core's own serves Slipway, too: what differs is listed. With --adopt-crd ours takes its place.

    \b
    Examples:
      slipway crd install
      slipway crd install --adopt-crd
    """  # noqa: D301  - click reads the backspace character
    try:
        check_id(controller_id)
    except ValueError as exc:
        raise click.UsageError(f"--controller-id {exc}") from exc
    for line in told(run(lambda kube: _install(kube, controller_id, adopt=adopt_crd, sure=yes))):
        click.echo(line)


async def _install(kube: Kube, controller_id: str, *, adopt: bool, sure: bool) -> Outcome:
    seen = await look(kube, controller_id=controller_id)
    if seen.verdict == "newer":
        raise Failure(newer(seen))
    if adopt and seen.theirs is not None:
        for line in compared(seen):
            click.echo(line)
        if seen.objects and not sure and not click.confirm("Replace it all the same?"):
            raise Failure(
                f"left as it is; SeldonDeployments that would change: {len(seen.objects)}; --yes does not ask"
            )
    return await install(kube, seen, adopt=adopt)
