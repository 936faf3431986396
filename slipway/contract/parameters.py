"""Parameter values of a graph (contract 4.1): always text in the manifest, typed in the component."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from slipway.contract.graph import RANDOM_ABTEST, Parameter

T = TypeVar("T")

TRUE = frozenset({"y", "yes", "t", "true", "on", "1"})
FALSE = frozenset({"n", "no", "f", "false", "off", "0"})

DEFAULT_RATIO_A = 0.5
"""Share of the first child of a RANDOM_ABTEST that says nothing (contract 3.4)."""


def ratio_a(parameters: Sequence[Parameter]) -> float:
    """The share of the first child of a RANDOM_ABTEST.

    Raises:
        ValueError: there is another parameter, or the share is none; the sentence says what would be right.
    """
    names = [parameter.name for parameter in parameters]
    if names not in ([], ["ratioA"]):
        raise ValueError(f"{RANDOM_ABTEST} takes one parameter, ratioA, not {', '.join(names)}")
    if not parameters:
        return DEFAULT_RATIO_A
    try:
        ratio = float(parameters[0].value)
    except ValueError:
        ratio = -1.0
    if not 0.0 <= ratio <= 1.0:
        raise ValueError(f"parameter 'ratioA': {parameters[0].value!r} is not a number from 0 to 1")
    return ratio


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
