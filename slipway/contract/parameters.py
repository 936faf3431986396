"""Parameters of a graph (contract 4.1): always text in the manifest, typed arguments in the component."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from slipway.contract.graph import RANDOM_ABTEST, Parameter

T = TypeVar("T")

TRUE = frozenset({"y", "yes", "t", "true", "on", "1"})
FALSE = frozenset({"n", "no", "f", "false", "off", "0"})

TYPES = ("BOOL", "DOUBLE", "FLOAT", "INT", "STRING")

DEFAULT_RATIO_A = 0.5
"""Share of the first child of a RANDOM_ABTEST that says nothing (contract 3.4)."""


class ParameterError(ValueError):
    """A parameter that does not parse; the text names it and what would be right."""

    reason = "MICROSERVICE_BAD_PARAMETER"


def parse_parameters(parameters: Any) -> dict[str, int | float | str | bool]:
    """A component's arguments from parsed JSON: ``[{"name": "iou", "value": "0.45", "type": "FLOAT"}]`` → ``{"iou": 0.45}``.

    Raises:
        ParameterError: it is no list of them, a value is not of its type, or a name is given twice.
    """
    if not isinstance(parameters, list):
        raise ParameterError(f"parameters: {type(parameters).__name__} is not a list of name, value, type")
    parsed: dict[str, int | float | str | bool] = {}
    for index, parameter in enumerate(parameters):
        name, value = _parse_parameter(parameter, where=f"parameters[{index}]")
        if name in parsed:
            raise ParameterError(f"parameters[{index}]: {name!r} is given twice")
        parsed[name] = value
    return parsed


def _parse_parameter(parameter: Any, *, where: str) -> tuple[str, int | float | str | bool]:
    if not isinstance(parameter, Mapping) or not isinstance(parameter.get("name"), str):
        raise ParameterError(f"{where} is {type(parameter).__name__}, not an object with a name")
    name, value = parameter["name"], parameter.get("value")
    kind = str(parameter.get("type"))
    try:
        return name, parse_value(Parameter(name, str(value), kind))
    except ValueError:
        words = f"a value of type {kind}" if kind in TYPES else f"of a known type: {kind} is none of {', '.join(TYPES)}"
        raise ParameterError(
            f"{where} ({name}) is not {words}"
        ) from None  # a value may be a secret, and this is logged


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
    raise ValueError(f"type {parameter.type!r} is not one of {', '.join(TYPES)}")


def _number(kind: Callable[[str], T], text: str, words: str) -> T:
    try:
        return kind(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is not {words}") from error
