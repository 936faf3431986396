"""YAML's values as kubectl and a cluster's API read them: by sigs.k8s.io/yaml, over version 2 of go-yaml.

Its plain scalars are those of YAML 1.1, where ``n`` is false and ``010`` is 8, but no number is in base 60, a date is text,
and ``1e3`` and ``0o10`` are numbers. Whoever loads manifests mixes ``GoYaml`` into a loader of PyYAML.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import yaml

PREFIX = "tag:yaml.org,2002:"
TEXT, LIST, MAPPING, MERGE = (f"{PREFIX}{name}" for name in ("str", "seq", "map", "merge"))
Scalar = bool | int | float | str | None
WORDS: Mapping[str, Scalar] = {
    **{form: True for word in ("y", "yes", "true", "on") for form in (word, word.capitalize(), word.upper())},
    **{form: False for word in ("n", "no", "false", "off") for form in (word, word.capitalize(), word.upper())},
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **{f"{sign}.{inf}": float(f"{sign}inf") for sign in ("", "+", "-") for inf in ("inf", "Inf", "INF")},
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
INTEGER = re.compile(r"[-+]?(?:0[bB][01]+|0[xX][0-9a-fA-F]+|0[oO]?[0-7]+|0|[1-9][0-9]{0,19})")
FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
POINT_FIRST = re.compile(r"\.[0-9](?:_?[0-9])*(?:[eE][-+]?[0-9](?:_?[0-9])*)?")
"""Its underscores stand between digits; those of other numbers stand anywhere."""
OLD_OCTAL = re.compile(r"^([-+]?)0(?=[0-7])")
WORD_BITS = 64
MAX_VALUES = 4_000_000
"""Of a document: a few lines of aliases of aliases would be more than any memory holds."""
SHOWN_CHARS = 30
EXACT = range(-(2**63), 2**63)
"""Integers that JSON keeps in a cluster: a larger one is a float there."""


def plain_scalar(text: str) -> Scalar:
    """What a scalar without quotes and without a tag is."""
    if text in WORDS:
        return WORDS[text]
    if not text or text[0] not in "+-.0123456789":
        return text
    digits = text.replace("_", "")
    number: int | float | None = _integer(digits)
    if number is None and (POINT_FIRST.fullmatch(text) if text[0] == "." else FLOAT.fullmatch(digits)):
        number = float(digits)
    if number is None or number in (float("inf"), float("-inf")):
        return text
    return int(number) if number == int(number) and int(number) in EXACT else float(number)


def _integer(digits: str) -> int | None:
    """None also for one that has no room in 64 bits: in decimal it is a float, in another base it is text."""
    if not INTEGER.fullmatch(digits):
        return None
    number = int(OLD_OCTAL.sub(r"\g<1>0o", digits), 0)
    is_signed = digits[0] in "+-"
    return number if number in EXACT or (not is_signed and 0 <= number < 2**WORD_BITS) else None


def _tag(value: Scalar) -> str:
    names = {bool: "bool", int: "int", float: "float", type(None): "null", str: "str"}
    return PREFIX + names[type(value)]


class GoYaml:
    """To be mixed into a loader of PyYAML: values as above, keys as text, a merge where it stands."""

    construct_object: Callable[..., Any]
    construct_scalar: Callable[[Any], str]

    def resolve(self, kind: type[yaml.Node], value: str, implicit: tuple[bool, bool]) -> str:
        if kind is not yaml.ScalarNode:
            return LIST if kind is yaml.SequenceNode else MAPPING
        if not implicit[0]:
            return TEXT
        return MERGE if value == "<<" else _tag(plain_scalar(value))

    def construct_plain(self, node: Any) -> Scalar:
        """A number, a boolean or null; with a tag, ``!!int "3"``, only what is one."""
        value = plain_scalar(self.construct_scalar(node))
        kind = node.tag.removeprefix(PREFIX)
        if _tag(value) == node.tag or (kind, type(value)) == ("float", int):
            return value
        raise _refusal(node, f"{node.value[:SHOWN_CHARS]!r} is no !!{kind}")

    def construct_unknown(self, node: Any) -> None:
        raise _refusal(node, f"the tag {node.tag.replace(PREFIX, '!!')} means nothing in a manifest")

    def construct_document(self, node: Any) -> Any:
        if _values(node, {}) > MAX_VALUES:
            raise _refusal(node, f"more than {MAX_VALUES} values, those behind an alias as often as they are used")
        return super().construct_document(node)  # type: ignore[misc]  # PyYAML's

    def pairs_of(self, node: Any) -> list[tuple[Any, Any]]:
        """What comes later counts, an entry or a merge; of the mappings of one merge the first."""
        pairs = []
        for key, value in node.value:
            if key.tag != MERGE:
                pairs.append((key, value))
                continue
            for merged in reversed(value.value) if isinstance(value, yaml.SequenceNode) else [value]:
                pairs += self.pairs_of(_mapping(merged, "a merge takes a mapping, or a list of mappings"))
        return pairs

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[str, Any]:
        pairs = self.pairs_of(_mapping(node, "a mapping is expected"))
        return {self.key_of(key): self.construct_object(value, deep=deep) for key, value in pairs}

    def key_of(self, node: Any) -> str:
        """JSON's key: ``y: 1`` is ``{"true": 1}``. A fraction, which a cluster rounds, and null are refused."""
        value = self.construct_object(node, deep=True)
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, int | str):
            return str(value)
        shown = repr(node.value[:SHOWN_CHARS]) if isinstance(node, yaml.ScalarNode) else "a list or a mapping"
        raise _refusal(node, f"{shown} as a key is no text: write it in quotes")


def constructors() -> dict[str | None, Callable[..., Any]]:
    """For ``yaml_constructors`` of a loader with ``GoYaml``."""
    known = yaml.SafeLoader.yaml_constructors
    plain = {f"{PREFIX}{name}": GoYaml.construct_plain for name in ("bool", "int", "float", "null")}
    return (
        {tag: known[tag] for tag in (TEXT, LIST, MAPPING)}
        | {MERGE: known[TEXT], None: GoYaml.construct_unknown}
        | plain
    )


def _values(node: Any, known: dict[int, int | None]) -> int:
    """Of a tree in which a node may stand in several places; None is known of one that is looked into."""
    if isinstance(node, yaml.ScalarNode):
        return 1
    if id(node) not in known:
        known[id(node)] = None
        below = node.value if isinstance(node, yaml.SequenceNode) else [part for pair in node.value for part in pair]
        known[id(node)] = 1 + sum(_values(item, known) for item in below)
    found = known[id(node)]
    if found is None:
        raise _refusal(node, "an anchor is inside itself")
    return found


def _mapping(node: Any, problem: str) -> Any:
    if not isinstance(node, yaml.MappingNode):
        raise _refusal(node, problem)
    return node


def _refusal(node: Any, problem: str) -> yaml.MarkedYAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
