"""`docker compose` of a page, without Docker: subcommands and flags that pages use, services of the file."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from tests.docs import programs
from tests.docs.commands import Command, options

FLAGS: Mapping[str, frozenset[str]] = {
    "up": frozenset({"--detach", "--wait", "--force-recreate"}),
    "run": frozenset({"--rm", "--volume"}),
    "down": frozenset({"--volumes"}),
}
"""After https://docs.docker.com/reference/cli/docker/compose/; one that a page uses anew is looked up there first."""
WITH_VALUE = frozenset({"--volume"})
MODULE = ("python", "-m", "slipway.cli.main")
"""How an image's command line is ``slipway``."""


@dataclass(frozen=True)
class Use:
    """``services`` are what a command names; ``rest`` is what `run` starts instead of a service's own command."""

    services: tuple[str, ...]
    flags: tuple[str, ...]
    rest: tuple[str, ...]


def used(words: tuple[str, ...]) -> Use:
    """Of the words after `docker compose up`, `run` or `down`."""
    flags: list[str] = []
    plain: list[str] = []
    given = iter(words[3:])
    for word in given:
        if word.startswith("-") and not (words[2] == "run" and plain):
            flags.append(word.partition("=")[0])
            if word in WITH_VALUE:
                next(given, None)
        else:
            plain.append(word)
    count = 1 if words[2] == "run" else len(plain)
    return Use(tuple(plain[:count]), tuple(flags), tuple(plain[count:]))


def complain(command: Command, services: Collection[str]) -> Iterator[str]:
    """What is wrong with a `docker compose` command; a file below what it mounts is the reader's own, and taken to be there."""
    words = command.words
    if words[1:2] != ("compose",) or words[2:3] == () or words[2] not in FLAGS:
        yield f"{command}: not one of docker compose {', '.join(FLAGS)}"
        return
    use = used(words)
    yield from (f"{command}: {words[2]} has no flag {flag}" for flag in use.flags if flag not in FLAGS[words[2]])
    yield from (f"{command}: compose.yaml has no service {name}" for name in use.services if name not in services)
    if words[2] == "run" and not use.services:
        yield f"{command}: run names no service"
    if use.rest[:3] == MODULE:
        mounts = [f"{text.split(':')[1]}/" for text in options(words, "--volume")]
        inside = [os.devnull if word.startswith(tuple(mounts)) else word for word in use.rest[3:]]
        yield from programs.complain_of_slipway(Command(command.line, ("slipway", *inside)))
