"""Other commands of a page: `slipway` by its own parser, `make` by its targets, our modules by being there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import click

from slipway.cli.main import main
from tests.docs.commands import Command

EXTERNAL: Mapping[str, frozenset[str]] = {
    "curl": frozenset(),
    "docker": frozenset({"save", "push", "login"}),
    "gcloud": frozenset({"container", "auth", "artifacts"}),
    "istioctl": frozenset({"analyze"}),
    "k3s": frozenset({"ctr"}),
    "kind": frozenset({"create", "load", "delete"}),
    "minikube": frozenset({"start", "image", "tunnel", "delete", "addons"}),
    "sudo": frozenset({"install", "k3s"}),
}
"""Programs that are not ours and not here, and what the page may do with them: only their names are checked."""


def complain_of_slipway(command: Command) -> Iterator[str]:
    """Subcommands, options and arguments as the command line itself reads them; nothing is run."""
    found: click.Command = main
    words = list(command.words[1:])
    while isinstance(found, click.Group) and words and not words[0].startswith("-"):
        below = found.get_command(click.Context(found), words[0])
        if below is None:
            yield f"{command}: slipway has no command {words[0]}"
            return
        found, words = below, words[1:]
    try:
        found.make_context(found.name or "slipway", words)
    except click.exceptions.Exit:
        return
    except click.UsageError as error:
        yield f"{command}: {error.format_message()}"


def complain_of_make(command: Command, makefile: Path) -> Iterator[str]:
    text = makefile.read_text()
    targets = set(re.findall(r"^([a-z-]+):", text, re.MULTILINE))
    for word in command.words[1:]:
        name, equals, _ = word.partition("=")
        if not equals and name not in targets:
            yield f"{command}: the Makefile has no target {name}"
        if equals and f"$({name})" not in text:
            yield f"{command}: the Makefile knows no variable {name}"


def complain_of_module(command: Command, repository: Path) -> Iterator[str]:
    """``python -m a.b``: ours, and there."""
    if command.words[1] != "-m" or not (repository / (command.words[2].replace(".", "/") + ".py")).is_file():
        yield f"{command}: not a module of this repository"


def complain_of_external(command: Command) -> Iterator[str]:
    wanted = EXTERNAL.get(command.program)
    if wanted is None:
        yield f"{command}: nothing is known about {command.program}"
    elif wanted and command.words[1] not in wanted:
        yield f"{command}: {command.program} {command.words[1]} is not among {', '.join(sorted(wanted))}"
