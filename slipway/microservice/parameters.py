"""Graph parameters (``[{"name", "value", "type"}]``) as the keyword arguments of a component class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slipway.contract.graph import Parameter
from slipway.contract.parameters import parse_value


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
    name, value = parameter["name"], parameter.get("value")
    try:
        return name, parse_value(Parameter(name, str(value), str(parameter.get("type"))))
    except ValueError as exc:
        raise ParameterError(f"{where} ({name}): {exc}") from exc
