"""What of the admission rules (contract 1.7) the API server itself can check, in CEL; it does so without any webhook.

Only Seldon's own rules are here, none of ours: a CRD is one for all controllers of a cluster, and nothing that Seldon Core
takes may be refused to it because Slipway is there. What is missing needs more than CEL can reckon here: the whole depth
of a graph [10, 16, 17], texts without a bound [4, 6], or the controller's table of servers [14].

No loop goes over what another loop made: the first API servers with CEL do not reckon how long that is, and refuse the rule.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from slipway.contract.graph import BUILT_IN, UNKNOWN_IMPLEMENTATION
from slipway.contract.validation import NO_ENGINE, PROTOCOLS, SERVER_TYPES, TRANSPORTS

SELDONS_WITHOUT_TENSORFLOW = ("SKLEARN_SERVER", "XGBOOST_SERVER", "MLFLOW_SERVER", "HUGGINGFACE_SERVER")


@dataclass(frozen=True)
class Rule:
    """``number`` of the contract's table; ``expression`` holds for what is right, ``self`` is the object it stands at."""

    number: int
    expression: str
    message: str


def _texts(values: Iterable[str]) -> str:
    return "[" + ", ".join(f'"{value}"' for value in values) + "]"


def _choice(number: int, field: str, allowed: tuple[str, ...]) -> Rule:
    words = ", ".join(value for value in allowed if value)
    return Rule(number, f"!has(self.{field}) || self.{field} in {_texts(allowed)}", f"{field} is one of {words}")


_ONE = "size(self.predictors) == 1"
_FIRST = "self.predictors[0]"
_LIVE = "!has(p.shadow) || !p.shadow"
_NO_IMPLEMENTATION = _texts(("", UNKNOWN_IMPLEMENTATION))
_NO_MODEL_URI = _texts(("", *sorted(BUILT_IN), "HUGGINGFACE_SERVER"))

SPEC_RULES = (
    _choice(1, "protocol", PROTOCOLS),
    _choice(2, "transport", TRANSPORTS),
    _choice(3, "serverType", SERVER_TYPES),
    Rule(
        5,
        f"!({_ONE}) || !has({_FIRST}.shadow) || !{_FIRST}.shadow",
        "the only predictor is a shadow: something live must answer",
    ),
    Rule(7, "size(self.predictors) > 0", "predictors: at least one is needed"),
    Rule(
        9,
        "self.predictors.all(p, self.predictors.exists_one(q, q.name == p.name))",
        "two predictors have the same name",
    ),
    Rule(
        13,
        '!has(self.protocol) || self.protocol != "tensorflow" || self.predictors.all(p, '
        f"!has(p.graph.implementation) || !(p.graph.implementation in {_texts(SELDONS_WITHOUT_TENSORFLOW)}))",
        f"protocol tensorflow is not spoken by {', '.join(SELDONS_WITHOUT_TENSORFLOW)}",
    ),
    Rule(
        18,
        "self.predictors.filter(p, has(p.shadow) && p.shadow).size() <= 1",
        "at most one predictor may be a shadow",
    ),
    Rule(
        20,
        f"self.predictors.filter(p, {_LIVE}).size() <= 1 || "
        f"self.predictors.map(p, ({_LIVE}) && has(p.traffic) ? p.traffic : 0).sum() == 100",
        "the traffic of the live predictors must sum to 100",
    ),
    Rule(
        21,
        f"!({_ONE}) || !has({_FIRST}.traffic) || {_FIRST}.traffic <= 0 || {_FIRST}.traffic >= 100",
        "the only predictor has a part of the traffic: leave it out or say 100",
    ),
)

PREDICTOR_RULES = (
    Rule(
        8,
        f'!has(self.annotations) || !("{NO_ENGINE}" in self.annotations) || !has(self.graph.children) || '
        "size(self.graph.children) == 0",
        f"{NO_ENGINE} is possible with one node only",
    ),
    Rule(
        19,
        "!has(self.shadow) || !self.shadow || !has(self.traffic) || (self.traffic >= 0 && self.traffic <= 100)",
        "the traffic of a shadow must be within 0..100",
    ),
)

NODE_RULES = (
    Rule(
        11,
        '!has(self.type) || self.type != "UNKNOWN_TYPE" || (has(self.methods) && size(self.methods) > 0) || '
        f"(has(self.implementation) && !(self.implementation in {_NO_IMPLEMENTATION}))",
        "type UNKNOWN_TYPE needs methods",
    ),
    Rule(
        12,
        f"!has(self.implementation) || self.implementation in {_NO_MODEL_URI} || "
        '(has(self.modelUri) && self.modelUri != "")',
        "a prepackaged server needs a modelUri",
    ),
    Rule(
        15,
        '!has(self.logger) || (has(self.logger.mode) && self.logger.mode != "")',
        "logger has no mode (request, response or all)",
    ),
)
