"""Graph parameters (``[{"name", "value", "type"}]``) as the keyword arguments of a component class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

TRUE = frozenset({"y", "yes", "t", "true", "on", "1"})
FALSE = frozenset({"n", "no", "f", "false", "off", "0"})


class ParameterError(Exception):
    """A parameter that does not parse; the text names it and what would be right."""

    reason = "MICROSERVICE_BAD_PARAMETER"


def parse_parameters(parameters: Any) -> dict[str, Any]:
    """``[{"name": "iou", "value": "0.45", "type": "FLOAT"}]`` → ``{"iou": 0.45}``; raises ParameterError."""
    if not isinstance(parameters, list):
        raise ParameterError(f"parameters: {type(parameters).__name__} is not a list of name, value, type")
    parsed: dict[str, Any] = {}
    for index, parameter in enumerate(parameters):
        name, value = _parse_parameter(parameter, where=f"parameters[{index}]")
        if name in parsed:
            raise ParameterError(f"parameters[{index}]: {name!r} is given twice")
        parsed[name] = value
    return parsed


def _parse_parameter(parameter: Any, *, where: str) -> tuple[str, Any]:
    if not isinstance(parameter, Mapping) or not isinstance(parameter.get("name"), str):
        raise ParameterError(f"{where}: {parameter!r} has no name")
    name, kind, value = parameter["name"], parameter.get("type"), parameter.get("value")
    if kind not in _PARSERS:
        raise ParameterError(f"{where} ({name}): type {kind!r} is not one of {', '.join(_PARSERS)}")
    try:
        return name, _PARSERS[kind](value)
    except (TypeError, ValueError) as exc:
        raise ParameterError(f"{where} ({name}): {value!r} is not of type {kind}") from exc


def _parse_bool(value: Any) -> bool:
    word = str(value).lower()
    if word not in TRUE | FALSE:
        raise ValueError(word)
    return word in TRUE


_PARSERS: dict[str, Callable[[Any], Any]] = {
    "INT": int,
    "FLOAT": float,
    "DOUBLE": float,
    "STRING": str,
    "BOOL": _parse_bool,
}
