"""The contract's algorithm (§3.3 to §3.5) once more, over plain JSON graphs: what the executor is compared with.

Written from the contract alone: synchronous, one case after the other, no code shared with the executor. A node's answer
shows which call made it, so two runs are equal only if every call saw the same input.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class Failed(Exception):
    """A run that has no answer; the text is what a client is told in one form or another."""


class NodeError(Failed):
    """A node that was told to fail."""


class NodeHangs(Failed):
    """A node that was told never to answer: its time-out is the answer."""


class BadRoute(Failed):
    """A route that names no child: Seldon's executor panics."""


class NoAverage(Failed):
    """Answers of different forms or lengths under AVERAGE_COMBINER."""


@dataclass(frozen=True)
class Message:
    """A SeldonMessage with numbers: its names say where it comes from."""

    trace: str
    values: tuple[float, ...] = (1.0,)
    form: str = "ndarray"


CONSTANT = Message("class0,class1,class2", (0.1, 0.9, 0.5), "tensor")
"""What SIMPLE_MODEL answered in Seldon's engine before 1.9."""


@dataclass
class World:
    """How the nodes behave, and what was called."""

    routes: Mapping[str, int] = field(default_factory=dict)
    failing: frozenset[tuple[str, str]] = frozenset()
    hanging: frozenset[tuple[str, str]] = frozenset()
    draw: float = 0.25
    """Of every A/B test, in [0, 1)."""
    calls: list[tuple[str, str, str]] = field(default_factory=list)
    taken: dict[str, int] = field(default_factory=dict)
    """Routers and A/B tests → the route that each took, where it did not mean all children."""

    def fresh(self) -> World:
        """The same nodes, of which none has been called."""
        return World(self.routes, self.failing, self.hanging, self.draw)

    def call(self, node: str, what: str, *messages: Message) -> Message:
        traces = ",".join(message.trace for message in messages)
        self.calls.append((node, what, traces))
        if (node, what) in self.hanging:
            raise NodeHangs(f"{node} {what}")
        if (node, what) in self.failing:
            raise NodeError(f"{node} {what}")
        return Message(f"{what}@{node}({traces})", tuple(value + len(what) for value in messages[0].values))


def predict(node: dict[str, Any], message: Message, world: World) -> Message:
    kind, methods = node.get("type"), node.get("methods", [])
    name, children = node["name"], node.get("children", [])

    if kind == "TRANSFORMER" or "TRANSFORM_INPUT" in methods:
        message = world.call(name, "transform-input", message)
    elif kind == "MODEL":
        message = world.call(name, "predict", message)
    elif built_in(node) == "SIMPLE_MODEL":
        message = CONSTANT

    if children:
        message = predict_children(node, message, world)

    if kind == "OUTPUT_TRANSFORMER" or "TRANSFORM_OUTPUT" in methods:
        message = world.call(name, "transform-output", message)
    return message


def predict_children(node: dict[str, Any], message: Message, world: World) -> Message:
    kind, methods, children = node.get("type"), node.get("methods", []), node["children"]
    route = choose(node, message, world)
    if route != -1:
        world.taken[node["name"]] = route
    if route == -2:
        return message

    answers, errors = [], []
    for child in children if route == -1 else [children[route]]:
        try:
            answers.append(predict(child, message, world))
        except Failed as error:
            errors.append(error)
    if errors:
        raise errors[0]
    if kind == "COMBINER" or "AGGREGATE" in methods:
        return world.call(node["name"], "aggregate", *answers)
    return average(answers) if built_in(node) == "AVERAGE_COMBINER" else answers[0]


def choose(node: dict[str, Any], message: Message, world: World) -> int:
    route = -1
    if node.get("type") == "ROUTER" or "ROUTE" in node.get("methods", []):
        world.call(node["name"], "route", message)
        route = world.routes[node["name"]]
    elif node.get("implementation") == "RANDOM_ABTEST":
        route = 0 if world.draw < ratio_of(node) else 1
    elif built_in(node) == "SIMPLE_ROUTER":
        route = 0
    return checked(route, node)


def checked(route: int, node: dict[str, Any]) -> int:
    if route < -2 or route >= len(node.get("children", [])):
        raise BadRoute(f"{node['name']}: {route}")
    return route


def built_in(node: dict[str, Any]) -> str:
    """What the executor does itself: the implementation of a node that has nothing else to be asked."""
    asked = node.get("type", "UNKNOWN_TYPE") != "UNKNOWN_TYPE" or node.get("methods")
    return "" if asked else node.get("implementation", "")


def ratio_of(node: dict[str, Any]) -> float:
    return float(node["parameters"][0]["value"]) if node.get("parameters") else 0.5


def average(answers: list[Message]) -> Message:
    first = answers[0]
    if any((one.form, len(one.values)) != (first.form, len(first.values)) for one in answers):
        raise NoAverage(", ".join(f"{one.form} of {len(one.values)}" for one in answers))
    means = tuple(sum(column) / len(answers) for column in zip(*(one.values for one in answers), strict=True))
    return Message(first.trace, means, first.form)


def feedback(node: dict[str, Any], routing: Mapping[str, int], world: World) -> Message | None:
    """The node's own reply, or None if it takes no feedback."""
    children = node.get("children", [])
    route = checked(routing.get(node["name"], -1), node)
    chosen = children if route == -1 else [] if route == -2 else [children[route]]
    errors = []
    for child in chosen:
        try:
            feedback(child, routing, world)
        except Failed as error:
            errors.append(error)
    if errors:
        raise errors[0]
    if node.get("type") in ("MODEL", "ROUTER") or "SEND_FEEDBACK" in node.get("methods", []):
        return world.call(node["name"], "send-feedback", Message("feedback"))
    return None
