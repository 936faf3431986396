"""The recorded calls of kubectl's commands (``kubectl-traces.md``), read; and those that a running kubectl prints with ``-v=8``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

_HEAD = re.compile(r"`kubectl (?P<command>.*?)`(?: — (?P<note>.*))?$")
_ROW = re.compile(r"(?m)^\| (\d+)(?:\u2013(\d+))? \| (\w+) \| `(.*?)`.*?\| .*? \| (\d+|\()")
_EXIT = re.compile(r"(?m)^exit (\d+)")
_ASKED = re.compile(r"round_trippers\.go:\d+\] (GET|POST|PUT|PATCH|DELETE) https?://[^/]+(/\S*)")
_ANSWERED = re.compile(r"round_trippers\.go:\d+\] Response Status: (\d+)")
DISCOVERY = re.compile(r"/(api|apis)(\?|$)|/openapi/|/version")
"""Calls that depend on what kubectl's cache on the disk has."""
_VOLATILE = (
    (re.compile(r"timeoutSeconds=[^&]*"), "timeoutSeconds=<some>"),
    (re.compile(r"resourceVersion=(?!0\b)[^&]*"), "resourceVersion=<rv>"),
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "<uid>"),
)
_SELECTOR = re.compile(r"(?<=fieldSelector=)[^&]*")
"""Its terms come in any order."""
Call = tuple[str, str, str]
"""Method, path with its query, status."""


@dataclass(frozen=True)
class Trace:
    """``command`` without the word kubectl; ``note`` is what the recorder said about it."""

    command: str
    note: str
    calls: tuple[Call, ...]
    exit_code: int

    @property
    def is_interrupted(self) -> bool:
        return "interrupted" in self.note or " -w" in self.command or "--watch-only" in self.command


def read_traces(path: Path) -> list[Trace]:
    return [_trace(part) for part in re.split(r"(?m)^### ", path.read_text())[1:]]


def _trace(part: str) -> Trace:
    head, code = _HEAD.match(part.splitlines()[0]), _EXIT.search(part)
    assert head, part
    assert code, part
    calls: list[Call] = []
    for first, last, method, request, status in _ROW.findall(part):
        if not DISCOVERY.match(request):
            calls += [masked(method, request, status)] * (int(last or first) - int(first) + 1)
    return Trace(head["command"], head["note"] or "", tuple(calls), int(code[1]))


def masked(method: str, path: str, status: str) -> Call:
    """A call without what differs from run to run."""
    path = unquote(path)
    for pattern, mask in _VOLATILE:
        path = pattern.sub(mask, path)
    return method, _SELECTOR.sub(lambda found: ",".join(sorted(found[0].split(","))), path), status


def printed_calls(text: str) -> list[Call]:
    """The calls in kubectl's ``-v=8`` output, in order; one that is not answered yet has no status."""
    found: list[list[str]] = []
    for line in text.splitlines():
        if asked := _ASKED.search(line):
            found.append([*asked.groups(), ""])
        elif (answered := _ANSWERED.search(line)) and found:
            found[-1][2] = answered[1]
    return [masked(*call) for call in found if not DISCOVERY.match(call[1])]
