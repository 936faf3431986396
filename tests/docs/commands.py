"""A page of documentation → the commands in it, in the order in which a reader types them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
PROMPT = "$ "


@dataclass(frozen=True)
class Command:
    """``line`` counts from 1 in the page; ``words`` are what a shell makes of it, without a leading assignment."""

    line: int
    words: tuple[str, ...]

    @property
    def program(self) -> str:
        return self.words[0]

    def __str__(self) -> str:
        return f"line {self.line}: {shlex.join(self.words)}"


def commands(page: str) -> list[Command]:
    """Of its ``bash`` blocks every line, of its ``console`` blocks those with a prompt; a backslash continues one."""
    return [command for block in BLOCK.finditer(page) for command in _of_block(page, block)]


def blocks(page: str, language: str) -> list[str]:
    return [text for found, text in BLOCK.findall(page) if found == language]


def _of_block(page: str, block: re.Match[str]) -> Iterator[Command]:
    language, text = block.groups()
    if language not in ("bash", "console"):
        return
    first = page.count("\n", 0, block.start()) + 2
    pending, begun = "", first
    for number, line in enumerate(text.splitlines(), first):
        if not pending:
            begun = number
            if language == "console" and not line.startswith(PROMPT):
                continue
        pending += line if pending or language != "console" else line.removeprefix(PROMPT)
        if pending.endswith("\\"):
            pending = pending[:-1]
            continue
        words = shlex.split(pending, comments=True)
        while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
            words = words[1:]
        if words:
            yield Command(begun, tuple(words))
        pending = ""


def option(words: tuple[str, ...], *names: str) -> str:
    """The value of an option, written ``--name value`` or ``--name=value``; empty where it is not given."""
    return next(iter(options(words, *names)), "")


def options(words: tuple[str, ...], *names: str) -> list[str]:
    """The values of an option that may come several times."""
    found = []
    for index, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name in names and (equals or index + 1 < len(words)):
            found.append(value if equals else words[index + 1])
    return found
