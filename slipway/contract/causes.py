"""What a validation rule says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from slipway.contract.graph import PredictiveUnit


@dataclass(frozen=True)
class Cause:
    """One violation: the field's path, what is wrong with it in a sentence, and Kubernetes' CauseType."""

    field: str
    message: str
    reason: str = "FieldValueInvalid"


def choice(value: str, allowed: Sequence[str]) -> str:
    return f"{value!r} is not one of {', '.join(item for item in allowed if item)}"


def with_paths(node: PredictiveUnit, path: str) -> Iterator[tuple[PredictiveUnit, str]]:
    """Every node with its place as Seldon's webhook writes it: ``….graph``, child k ``….graph[k]``."""
    yield node, path
    for index, child in enumerate(node.children):
        yield from with_paths(child, f"{path}[{index}]")
