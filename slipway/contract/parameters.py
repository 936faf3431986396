"""Parameter values of a graph (contract 4.1): always text in the manifest, typed in the component."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from slipway.contract.graph import Parameter

T = TypeVar("T")

TRUE = frozenset({"y", "yes", "t", "true", "on", "1"})
FALSE = frozenset({"n", "no", "f", "false", "off", "0"})


def parse_value(parameter: Parameter) -> int | float | str | bool:
    """The value in its type.

    Raises:
        ValueError: the type is unknown, or the text is not of it; the sentence says what would be right.
    """
    text = parameter.value
    match parameter.type:
        case "STRING":
            return text
        case "INT":
            return _number(int, text, "a whole number")
        case "FLOAT" | "DOUBLE":
            return _number(float, text, "a number")
        case "BOOL":
            if text.lower() in TRUE | FALSE:
                return text.lower() in TRUE
            raise ValueError(f"{text!r} is neither true nor false")
    raise ValueError(f"type {parameter.type!r} is not one of BOOL, DOUBLE, FLOAT, INT, STRING")


def _number(kind: Callable[[str], T], text: str, words: str) -> T:
    try:
        return kind(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is not {words}") from error
