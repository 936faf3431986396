"""The text of a ``.cfg`` as sections of typed options.

The format is read as pjreddie's ``read_cfg`` does (spaces mean nothing, ``#`` and ``;`` start a comment line, the first
``=`` splits), but nothing is forgiven: a key twice, a key nobody asked for and text behind a number are errors.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from model_wrappers.darknet.errors import CfgError
from model_wrappers.darknet.mistaken import mistaken_for
from model_wrappers.regular_file import read_start

MAX_CFG_BYTES = 1 << 20
MAX_SECTIONS = 2000
MAX_LIST_ITEMS = 1000
MAX_QUOTED = 40  # characters of the file that an error repeats

MAX_DIGITS = 9  # of a whole number
_INTEGER = re.compile(rf"[+-]?[0-9]{{1,{MAX_DIGITS}}}", re.ASCII)
_FLOAT = re.compile(r"[+-]?([0-9]{1,15}(\.[0-9]{0,30})?|\.[0-9]{1,30})([eE][+-]?[0-9]{1,3})?", re.ASCII)


class Option(NamedTuple):
    """One ``key=value`` with the line that it stands on."""

    value: str
    line: int


@dataclass
class Section:
    """``[kind]`` and its options; reading an option takes it, and ``finish`` refuses what is left over."""

    path: str
    kind: str
    line: int
    layer: int  # -1 for [net]
    options: dict[str, Option] = field(default_factory=dict)
    _taken: set[str] = field(default_factory=set)

    @property
    def title(self) -> str:
        kind = quoted(self.kind)
        return f"[{kind}]" if self.layer < 0 else f"layer {self.layer} [{kind}]"

    def error(self, message: str, key: str = "") -> CfgError:
        line = self.options[key].line if key in self.options else self.line
        return CfgError(self.path, line, f"{self.title}: {message}")

    def text(self, key: str, default: str | None = None) -> str:
        self._taken.add(key)
        option = self.options.get(key)
        if option is not None:
            return option.value
        if default is None:
            raise self.error(f"'{key}' is missing")
        return default

    def integer(self, key: str, default: int | None = None, *, low: int = 0, high: int = 1 << 20) -> int:
        value = self._one_integer(key, self.text(key, None if default is None else str(default)))
        if not low <= value <= high:
            raise self.error(f"{key}={value} is not between {low} and {high}", key)
        return value

    def number(self, key: str, default: float, *, low: float, high: float) -> float:
        value = self._one_number(key, self.text(key, repr(default)))
        if not low <= value <= high:
            raise self.error(f"{key}={value:g} is not between {low:g} and {high:g}", key)
        return value

    def switch(self, key: str, *, default: bool = False) -> bool:
        return self.integer(key, int(default), low=0, high=1) == 1

    def choice(self, key: str, choices: Collection[str], default: str | None = None) -> str:
        value = self.text(key, default)
        if value not in choices:
            raise self.error(f"{key}={quoted(value)} is not one of {', '.join(sorted(choices))}", key)
        return value

    def integers(self, key: str, default: str | None = None) -> tuple[int, ...]:
        return tuple(self._one_integer(key, item) for item in self._items(key, default))

    def numbers(self, key: str, default: str | None = None) -> tuple[float, ...]:
        return tuple(self._one_number(key, item) for item in self._items(key, default))

    def finish(self, ignored: Collection[str], fixed: Mapping[str, Collection[str]]) -> None:
        """Refuse options that nothing here follows.

        Args:
            ignored: keys without effect on a photo.
            fixed: keys whose effect this library knows only as none, with the values that have none.
        """
        for key, option in self.options.items():
            if key in self._taken or key in ignored or option.value in fixed.get(key, ()):
                continue
            if key in fixed:
                values = " or ".join(f"{key}={value}" for value in fixed[key])
                possible = f"only {values} is possible" if values else "the key is not followed here"
                raise self.error(f"{key}={quoted(option.value)} changes what Darknet computes: {possible}", key)
            near = difflib.get_close_matches(quoted(key), [*self._taken, *ignored, *fixed], n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"known here: {', '.join(sorted(self._taken))}"
            raise self.error(f"unknown key '{quoted(key)}': {hint}", key)

    def _items(self, key: str, default: str | None) -> list[str]:
        items = self.text(key, default).split(",")
        if items[-1] == "":  # Darknet's own cfg files end some lists with a comma
            items.pop()
        if not 0 < len(items) <= MAX_LIST_ITEMS:
            raise self.error(f"{key} lists {len(items)} values: 1 to {MAX_LIST_ITEMS} are possible", key)
        return items

    def _one_integer(self, key: str, text: str) -> int:
        if not _INTEGER.fullmatch(text):
            raise self.error(f"{key}={quoted(text)!r}: a whole number of at most {MAX_DIGITS} digits is expected", key)
        return int(text)

    def _one_number(self, key: str, text: str) -> float:
        value = parse_number(text)
        if value is None:
            raise self.error(f"{key}={quoted(text)!r}: a number is expected", key)
        return value


def parse_number(text: str) -> float | None:
    """A finite number in decimal notation, or None."""
    return float(text) if _FLOAT.fullmatch(text) and math.isfinite(float(text)) else None


def quoted(text: str) -> str:
    """As much of a piece of the file as an error repeats."""
    return text if len(text) <= MAX_QUOTED else f"{text[: MAX_QUOTED - 1]}…"


def load_cfg_text(path: Path) -> str:
    """The text of a cfg file, refused when it is something else (HTML page, weights, too large)."""
    name = str(path)
    try:
        data = read_start(path, MAX_CFG_BYTES + 1)
    except OSError as exc:
        raise CfgError(name, 0, f"cannot be read: {exc.strerror}") from exc
    if len(data) > MAX_CFG_BYTES:
        raise CfgError(name, 0, f"is larger than {MAX_CFG_BYTES} bytes: no Darknet cfg is (swapped with the weights?)")
    mistake = mistaken_for(data, "cfg")
    if mistake:
        raise CfgError(name, 0, mistake)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise CfgError(name, 0, f"is not text at byte {exc.start}: a Darknet cfg is expected") from exc


def parse_sections(text: str, path: str) -> list[Section]:
    """Cfg text to sections in file order; the first is [net] and the others are numbered as layers from 0."""
    sections: list[Section] = []
    for number, raw in enumerate(text.split("\n"), start=1):
        line = re.sub(r"[ \t\r]", "", raw)
        if not line or line[0] in "#;":
            continue
        if line[0] == "[":
            sections.append(_start(line, path, number, len(sections)))
        elif not sections:
            raise CfgError(path, number, f"{quoted(line)!r} stands before any [section]: a cfg starts with [net]")
        else:
            _add(sections[-1], line, number)
    if not sections:
        raise CfgError(path, 0, "is empty: a cfg starts with [net]")
    return sections


def _start(line: str, path: str, number: int, count: int) -> Section:
    if not line.endswith("]") or len(line) < 3:
        raise CfgError(path, number, f"{quoted(line)!r} is no [section]")
    if count > MAX_SECTIONS:
        raise CfgError(path, number, f"has more than {MAX_SECTIONS} layers")
    return Section(path, line[1:-1], number, layer=count - 1)


def _add(section: Section, line: str, number: int) -> None:
    key, equals, value = line.partition("=")
    if not equals or not key:
        raise CfgError(section.path, number, f"{section.title}: {quoted(line)!r} is not key=value")
    if key in section.options:
        first = section.options[key].line
        raise CfgError(section.path, number, f"{section.title}: '{quoted(key)}' stands already on line {first}")
    section.options[key] = Option(value, number)
