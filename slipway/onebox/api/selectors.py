"""Label selectors and field selectors: text → a predicate over objects."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from slipway.onebox.api.errors import bad_request

MAX_SELECTOR_CHARS = 16_384
_TOKEN = re.compile(r"\s*(==|!=|=|,|\(|\)|>|<|!|[^\s=!,()<>]+)")
Labels = Mapping[str, str]
Predicate = Callable[[Mapping[str, Any]], bool]


@dataclass(frozen=True)
class Requirement:
    """One term: ``operator`` is in, notin, exists, absent, gt or lt. ``notin`` holds for objects without the label."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Labels) -> bool:
        value = labels.get(self.key)
        match self.operator:
            case "exists":
                return value is not None
            case "absent":
                return value is None
            case "in":
                return value in self.values
            case "notin":
                return value not in self.values
        try:
            number, limit = int(value or ""), int(self.values[0])
        except ValueError:
            return False
        return number > limit if self.operator == "gt" else number < limit


def parse_labels(text: str) -> tuple[Requirement, ...]:
    """Raises Refused 400 in the words of Kubernetes' parser."""
    if len(text) > MAX_SELECTOR_CHARS:
        raise bad_request(f"labelSelector: longer than {MAX_SELECTOR_CHARS} characters")
    tokens = _TOKEN.findall(text)
    requirements: list[Requirement] = []
    position = 0
    while position < len(tokens):
        requirement, position = _parse_requirement(tokens, position)
        requirements.append(requirement)
        if position < len(tokens):
            if tokens[position] != ",":
                raise bad_request(
                    f"unable to parse requirement: found '{tokens[position]}', expected: ',' or 'end of string'"
                )
            position += 1
            if position == len(tokens):
                raise bad_request("unable to parse requirement: found '', expected: identifier after ','")
    return tuple(requirements)


def _parse_requirement(tokens: list[str], position: int) -> tuple[Requirement, int]:
    def token(offset: int) -> str:
        return tokens[position + offset] if position + offset < len(tokens) else ""

    if token(0) == "!":
        return Requirement(token(1), "absent"), position + 2
    if token(0) in ("", ",", "=", "==", "!=", "(", ")"):
        raise bad_request(
            f"unable to parse requirement: found '{token(0)}', expected: !, identifier, or 'end of string'"
        )
    match token(1):
        case "" | ",":
            return Requirement(token(0), "exists"), position + 1
        case "=" | "==" | "!=" as operator:
            value = "" if token(2) in (",", "") else token(2)
            used = 3 if value else 2
            return Requirement(token(0), "notin" if operator == "!=" else "in", (value,)), position + used
        case ">" | "<" as operator:
            if not token(2).removeprefix("-").isdecimal():
                why = "for 'Gt', 'Lt' operators, the value must be an integer"
                raise bad_request(
                    f'unable to parse requirement: values[0][{token(0)}]: Invalid value: "{token(2)}": {why}'
                )
            return Requirement(token(0), "gt" if operator == ">" else "lt", (token(2),)), position + 3
        case "in" | "notin" as operator:
            return _parse_values(tokens, position, operator)
    raise bad_request(f"unable to parse requirement: found '{token(1)}', expected: in, notin, =, ==, !=, gt, lt")


def _parse_values(tokens: list[str], position: int, operator: str) -> tuple[Requirement, int]:
    opening = tokens[position + 2] if position + 2 < len(tokens) else ""
    if opening != "(":
        raise bad_request(f"unable to parse requirement: found '{opening}' expected: '('")
    if ")" not in tokens[position:]:
        raise bad_request("unable to parse requirement: found '', expected: ',', or ')'")
    end = tokens.index(")", position)
    values = tuple(word for word in tokens[position + 3 : end] if word != ",")
    return Requirement(tokens[position], operator, values), end + 1


def parse_fields(text: str, *, known: Collection[str], is_custom: bool) -> tuple[tuple[str, str, bool], ...]:
    """``(path, value, wanted equal)`` for each term; Refused 400 for a field that cannot be selected by."""
    if len(text) > MAX_SELECTOR_CHARS:
        raise bad_request(f"fieldSelector: longer than {MAX_SELECTOR_CHARS} characters")
    terms = []
    for part in filter(None, text.split(",")):
        match = re.fullmatch(r"([^=!]+)(==|!=|=)(.*)", part)
        if not match:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{part}'")
        path, operator, value = match.groups()
        if path not in known:
            if is_custom:
                raise bad_request(f"field label not supported: {path}")
            raise bad_request(
                f'"{path}" is not a known field selector: only ' + ", ".join(f'"{name}"' for name in sorted(known))
            )
        terms.append((path, value, operator != "!="))
    return tuple(terms)


def field_value(obj: Mapping[str, Any], path: str) -> str:
    """The text of a dotted path; empty where it is absent."""
    value: Any = obj
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def predicate(labels: tuple[Requirement, ...], fields: tuple[tuple[str, str, bool], ...]) -> Predicate | None:
    """None where everything matches."""
    if not labels and not fields:
        return None

    def matches(obj: Mapping[str, Any]) -> bool:
        have = obj["metadata"].get("labels") or {}
        return all(requirement.matches(have) for requirement in labels) and all(
            (field_value(obj, path) == value) is wanted for path, value, wanted in fields
        )

    return matches
