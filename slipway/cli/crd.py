"""``slipway crd``: the CustomResourceDefinition of SeldonDeployments, printed."""

from __future__ import annotations

import click

from slipway.crd.definition import definition, render


@click.group("crd", invoke_without_command=True)
@click.pass_context
def crd_command(context: click.Context) -> None:
    """Print the definition of SeldonDeployments that a cluster needs.

    \b
    Examples:
      slipway crd
      slipway crd | kubectl diff -f -
    """  # noqa: D301  - click reads the backspace character
    if context.invoked_subcommand is None:
        click.echo(render(definition()), nl=False)
