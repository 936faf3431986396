"""What is wrong with a command line itself, told with exit code 2 before anything is asked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import click

WRONG_USE = 2
REMOTE = re.compile(r"[^/]*(://|@)|[\w-]+\.[\w-]")
"""A kustomization that kubectl fetches: an address, or one without its scheme (``github.com/…``)."""


class WrongUse(click.ClickException):
    """One line for the user, where ``--help`` would not explain more."""

    exit_code = WRONG_USE


@dataclass(frozen=True)
class Written(click.ParamType[str]):
    """A value that reads as ``pattern``; ``right`` says what would."""

    name: str
    pattern: re.Pattern[str]
    right: str

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Raises BadParameter."""
        if not self.pattern.fullmatch(value):
            self.fail(f"{value!r}: {self.right}", param, ctx)
        return value


class Kustomization(click.ParamType[str]):
    """A folder of this machine, which must be there, or an address that kubectl fetches."""

    name = "DIR"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Raises BadParameter."""
        if not REMOTE.match(value) and not Path(value).is_dir():
            self.fail(f"{value!r}: there is no such folder", param, ctx)
        return value


NAMESPACE = Written(
    "NAME",
    re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"),
    "a namespace's name has a-z, 0-9 and '-' inside, 63 characters at most",
)
files_option = click.option(
    "-f",
    "files",
    multiple=True,
    type=click.Path(exists=True, allow_dash=True),
    metavar="FILE|DIR|-",
    help="Manifests; - is standard input.",
)
kustomization_option = click.option(
    "-k", "kustomization", type=Kustomization(), help="A kustomization, rendered by kubectl."
)
