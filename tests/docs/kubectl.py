"""kubectl commands of a page: its own help knows every subcommand and flag; folders build; `create` is tried."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from tests.docs.commands import Command, option, options

Object = dict[str, Any]
FLAG = re.compile(r"^\s+(?:-(\w), )?--([a-z0-9-]+)(?:=|:)", re.MULTILINE)
GROUPS = {"create", "rollout", "set", "config", "auth", "certificate", "top"}
"""Their second word is a subcommand, too; so is the third of `create secret` and `create service`."""
NAMESPACE = ("-n", "--namespace")
LIMIT_S = 50


def subcommand(words: tuple[str, ...]) -> tuple[str, ...]:
    """Of ``words`` after `kubectl`: `-n a rollout status deployment/b` → `(rollout, status)`."""
    plain = list(_positional(words))
    depth = 1
    if plain and plain[0] in GROUPS:
        depth = 3 if plain[:2] in (["create", "secret"], ["create", "service"]) else 2
    return tuple(plain[:depth])


def complain_of_flags(command: Command) -> Iterator[str]:
    """Subcommands and flags that this kubectl does not have."""
    words = command.words[1:]
    named = subcommand(words)
    help_text = _help(named)
    if not help_text.partition("Usage:")[2].strip().startswith(f"kubectl {' '.join(named)}"):
        yield f"{command}: kubectl has no subcommand {' '.join(named)}"
        return
    known = _flags(help_text) | _flags(_help(("options",)))
    given = {word.partition("=")[0] for word in words[: words.index("--") if "--" in words else None]}
    yield from (f"{command}: {named[0]} has no flag {flag}" for flag in sorted(given) if _is_flag(flag, known))


def complain_of_files(command: Command, repository: Path) -> Iterator[str]:
    """Folders and files of the repository that are not there, or do not build."""
    words = command.words[1:]
    folders = options(words, "-k", "--kustomize") + ([words[1]] if words[0] == "kustomize" else [])
    for folder in folders:
        if not (repository / folder / "kustomization.yaml").is_file():
            yield f"{command}: {folder} has no kustomization.yaml"
    for name in _files(command):
        if name != "-" and "://" not in name and not (repository / name).exists():
            yield f"{command}: {name} does not exist"


def complain_of_create(command: Command, folder: Path) -> Iterator[str]:
    """What kubectl itself has against a `create`, which it makes up without asking a server; run in ``folder``."""
    made = subprocess.run(
        [*command.words, "--dry-run=client", "--output=name"],
        capture_output=True,
        check=False,
        cwd=folder,
        text=True,
        timeout=LIMIT_S,
    )
    if made.returncode:
        yield f"{command}: {made.stderr.strip()}"


@cache
def build(folder: Path) -> tuple[Object, ...]:
    """What a kustomization becomes.

    Raises:
        AssertionError: it does not build; with kubectl's words.
    """
    import yaml

    run = subprocess.run(
        ["kubectl", "kustomize", str(folder)], capture_output=True, check=False, text=True, timeout=LIMIT_S
    )
    assert run.returncode == 0, f"{folder}: {run.stderr}"
    return tuple(filter(None, yaml.load_all(run.stdout, Loader=yaml.CSafeLoader)))


def created(command: Command, folder: Path) -> Object:
    """The object that a `create` makes."""
    run = subprocess.run(
        [*command.words, "--dry-run=client", "--output=json"],
        capture_output=True,
        check=True,
        cwd=folder,
        text=True,
        timeout=LIMIT_S,
    )
    made: Object = json.loads(run.stdout)
    made["metadata"].setdefault("namespace", option(command.words, *NAMESPACE))
    return made


def targets(command: Command) -> Iterator[tuple[str, str, str]]:
    """(namespace, kind, name) of each ``kind/name`` that a command names."""
    namespace = option(command.words, *NAMESPACE)
    files = [*options(command.words, "-k", "--kustomize"), *_files(command)]
    for word in command.words[1:]:
        if word in files:
            continue
        value = word.partition("=")[2] if word.startswith("--from=") else word
        if found := re.fullmatch(r"([a-z]+)/([a-z0-9.-]+)", value):
            yield namespace, found[1], found[2]


def _files(command: Command) -> list[str]:
    """To `logs`, `-f` means to follow."""
    return [] if "logs" in command.words else options(command.words, "-f", "--filename")


def _is_flag(word: str, known: set[str]) -> bool:
    return word.startswith("-") and word not in {"-", "--"} and word not in known


def _positional(words: tuple[str, ...]) -> Iterator[str]:
    """Words that are no flags and no values of the global ones that may stand in front."""
    skip = False
    for word in words:
        if skip or word.startswith("-"):
            skip = not skip and word in {*NAMESPACE, "--context", "--kubeconfig"}
            continue
        yield word


@cache
def _help(named: tuple[str, ...]) -> str:
    words = named if named == ("options",) else (*named, "--help")
    run = subprocess.run(["kubectl", *words], capture_output=True, check=False, text=True, timeout=LIMIT_S)
    return run.stdout


def _flags(help_text: str) -> set[str]:
    found = FLAG.findall(help_text)
    return {f"--{long}" for _, long in found} | {f"-{short}" for short, _ in found if short} | {"--help"}
