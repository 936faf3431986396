"""The `slipway` command and every command below it, found as its own parser finds them."""

from __future__ import annotations

from collections.abc import Iterator

import click

from slipway.cli.main import main

Words = tuple[str, ...]


def _walk(command: click.Command, *words: str) -> Iterator[tuple[Words, click.Command]]:
    yield words, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None, f"slipway {' '.join(words)} lists {name} and has none"
            yield from _walk(below, *words, name)


EVERY = dict(sorted(_walk(main)))
"""Words → command; no words are `slipway` itself."""
