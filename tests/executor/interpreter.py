"""The contract's algorithm (§3.3, §3.5) once more, over plain JSON graphs: what the executor is compared with.

Written from the contract alone: synchronous, one case after the other, no code shared with the executor. A node's
answer is a text that shows which call made it, so two runs are equal only if every call saw the same input.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class NodeError(Exception):
    """A node that was told to fail."""


@dataclass
class World:
    """How the nodes behave, and what was called."""

    routes: Mapping[str, int] = field(default_factory=dict)
    failing: frozenset[tuple[str, str]] = frozenset()
    draws_below_ratio: bool = True
    calls: list[tuple[str, str, str]] = field(default_factory=list)

    def call(self, node: str, what: str, message: str) -> str:
        self.calls.append((node, what, message))
        if (node, what) in self.failing:
            raise NodeError(f"{node} {what}")
        return f"{what}@{node}({message})"


def predict(node: dict[str, Any], message: str, world: World) -> str:
    kind, methods = node.get("type"), node.get("methods", [])
    name, children = node["name"], node.get("children", [])

    if kind == "TRANSFORMER" or "TRANSFORM_INPUT" in methods:
        message = world.call(name, "transform-input", message)
    elif kind == "MODEL":
        message = world.call(name, "predict", message)

    if children:
        message = predict_children(node, message, world)

    if kind == "OUTPUT_TRANSFORMER" or "TRANSFORM_OUTPUT" in methods:
        message = world.call(name, "transform-output", message)
    return message


def predict_children(node: dict[str, Any], message: str, world: World) -> str:
    kind, methods, children = node.get("type"), node.get("methods", []), node["children"]
    route = -1
    if kind == "ROUTER" or "ROUTE" in methods:
        world.call(node["name"], "route", message)
        route = world.routes[node["name"]]
    elif node.get("implementation") == "RANDOM_ABTEST":
        route = 0 if world.draws_below_ratio else 1
    if route == -2:
        return message

    answers, errors = [], []
    for child in children if route == -1 else [children[route]]:
        try:
            answers.append(predict(child, message, world))
        except NodeError as error:
            errors.append(error)
    if errors:
        raise errors[0]
    if kind == "COMBINER" or "AGGREGATE" in methods:
        return world.call(node["name"], "aggregate", "[" + ",".join(answers) + "]")
    return answers[0]


def feedback(node: dict[str, Any], routing: Mapping[str, int], world: World) -> str | None:
    """The node's own reply, or None if it takes no feedback."""
    children = node.get("children", [])
    route = routing.get(node["name"], -1)
    chosen = children if route == -1 else [] if route == -2 else [children[route]]
    errors = []
    for child in chosen:
        try:
            feedback(child, routing, world)
        except NodeError as error:
            errors.append(error)
    if errors:
        raise errors[0]
    if node.get("type") in ("MODEL", "ROUTER") or "SEND_FEEDBACK" in node.get("methods", []):
        return world.call(node["name"], "send-feedback", "feedback")
    return None
