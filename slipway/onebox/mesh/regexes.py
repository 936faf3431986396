"""Whether a text is a regular expression of RE2, Envoy's: https://github.com/google/re2/wiki/Syntax. Pure.

What RE2 has and Python has not becomes something of the same shape; what is left is Python's to judge.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from slipway.onebox.mesh.limits import MAX_REGEX_CHARS

MAX_REPETITION = 1000
"""RE2's bound of ``{n,m}``, and of the product of those that stand in each other."""
MAX_CHARACTER = 0xFF
"""Envoy has its RE2 read bytes, not characters of UTF-8."""
_SHARED = r"""
      (?P<number>\\x\{[0-9A-Fa-f]{1,6}\}|\\x[0-9A-Fa-f]{2}|\\[1-7][0-7]{1,2}|\\0[0-7]{0,2})
    | (?P<property>\\[pP](?:\{\^?\w+\}|[A-Z]))
    | (?P<literal>\\[!-/:-@[-`{-~\ ])
"""
_OUTSIDE = re.compile(
    rf"""{_SHARED}
    | (?P<escape>\\[afnrtvAbBzCdDsSwW])
    | (?P<quoted>\\Q.*?(?:\\E|\Z))
    | (?P<flags>\(\?[imsU]*(?:-[imsU]+)?\))
    | (?P<group>\((?:\?(?:P?<[0-9A-Za-z_]+>|[imsU]*(?:-[imsU]+)?:)|(?!\?)))
    | (?P<close>\))
    | (?P<odd>\(\?.?|\\.?)
    | (?P<begin>\[\^?\]?)
    | (?P<repetition>(?:[*+?]|\{{[0-9]+(?:,[0-9]*)?\}})\??)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_INSIDE = re.compile(
    rf"""{_SHARED}
    | (?P<escape>\\[afnrtvdDsSwW])
    | (?P<odd>\\.?)
    | (?P<posix>\[:\^?(?:alnum|alpha|ascii|blank|cntrl|digit|graph|lower|print|punct|space|upper|word|xdigit):\])
    | (?P<nobody>\[:[^\]]*:\])
    | (?P<end>\])
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_PYTHON = {r"\z": r"\Z", r"\C": "."}


class _NotRe2(Exception):
    """Python may have it, and RE2 has not."""


def regex_problem(value: str) -> str | None:
    """Why Envoy's RE2 would refuse ``value``, or None. One refused regex would block every other route's update."""
    if len(value) > MAX_REGEX_CHARS:
        return f"is longer than {MAX_REGEX_CHARS} characters"
    try:
        pattern = "".join(_translated(value))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sets that a later Python may read otherwise
            re.compile(pattern)
    except _NotRe2 as exc:
        return str(exc)
    except (re.error, OverflowError, RecursionError) as exc:
        return f"is not a regular expression: {exc}"
    return None


def _translated(value: str) -> Iterator[str]:
    """``value`` for Python's ``re``, token by token. Raises _NotRe2."""
    syntax, before, place, repetitions = _OUTSIDE, "", 0, _Repetitions()
    while match := syntax.match(value, place):
        kind, token, place = str(match.lastgroup), match.group(), match.end()
        if kind in {"odd", "nobody"}:
            raise _NotRe2(f"uses {token}, which RE2 does not have")
        if kind == before == "repetition":
            raise _NotRe2(f"repeats a repetition ({token}), which RE2 does not do")
        if kind in {"begin", "end"}:
            syntax = _INSIDE if kind == "begin" else _OUTSIDE
        repetitions.add(kind, token)
        yield _rewritten(kind, token, is_inside=syntax is _INSIDE)
        before = kind


def _rewritten(kind: str, text: str, *, is_inside: bool) -> str:
    if kind in _REWRITES:
        return _REWRITES[kind](text)
    if text == "[" or (text == "{" and not is_inside):  # no repetition: itself
        return f"\\{text}"
    return _PYTHON.get(text, text)


@dataclass
class _Repetitions:
    """``groups``: of each group that is open the highest product in it. ``last``: that of what came last."""

    groups: list[int] = field(default_factory=lambda: [1])
    last: int = 1

    def add(self, kind: str, token: str) -> None:
        if kind == "repetition":
            self.last *= max(1, *map(int, re.findall("[0-9]+", token)), 1)
            if self.last > MAX_REPETITION:
                raise _NotRe2(f"repeats something more than {MAX_REPETITION} times ({token}), which RE2 does not do")
        else:
            self.last = self.groups.pop() if kind == "close" and len(self.groups) > 1 else 1
        self.groups += [1] if kind == "group" else []
        self.groups[-1] = max(self.groups[-1], self.last)


def _character(escape: str) -> str:
    """A backslash and a number of a code point, in hexadecimal after ``x``, else in octal."""
    number = int(escape[2:].strip("{}"), 16) if escape[1] == "x" else int(escape[1:], 8)
    if number > MAX_CHARACTER:
        raise _NotRe2(f"uses {escape}, and Envoy's RE2 knows the characters up to \\xFF only")
    return re.escape(chr(number))


_REWRITES: Mapping[str, Callable[[str], str]] = {
    "number": _character,
    "property": lambda _: r"\w",
    "posix": lambda _: r"\w",
    "quoted": lambda text: re.escape(text.removeprefix(r"\Q").removesuffix(r"\E")),
    "group": lambda _: "(",
    "flags": lambda _: "",
    "begin": lambda text: text.replace("]", r"\]"),
}
