"""The structural schema of a SeldonDeployment: every field of the contract (1.1 to 1.4), and one more.

Parts of Pods are kept whole and unread, as the API keeps them in a Deployment until it makes one; so are parts that only
another controller acts on (autoscalers' metrics, triggers). Strings have no enums: the contract has none. One field is not
Seldon's: ``hpaSpec.behavior``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slipway.crd.descriptions import described
from slipway.crd.rules import NODE_RULES, PREDICTOR_RULES, SPEC_RULES, Rule

Schema = dict[str, Any]
GRAPH_DEPTH = 10
"""Nesting of ``graph.children`` that is spelled out, as in Seldon's own CRD (a schema cannot refer to itself); deeper is kept unread."""
RULED_LEVELS = 2
"""Levels of a graph whose nodes have rules: what the API server reckons for one is multiplied by ``maxItems`` at each level."""
MAX_PREDICTORS = 64
MAX_CHILDREN = 64
"""Of the root node. Both bounds let the API server reckon the cost of the rules; more Pods than that fit no SeldonDeployment."""
MAX_NAME = 63
"""Of a predictor: its name becomes the value of the label ``version``, which Kubernetes bounds so."""


def schema() -> Schema:
    """Of the whole resource, the same in each version."""
    return described(_object({"spec": _spec(), "status": _kept()}, required=["spec"]))


def _spec() -> Schema:
    return _object(
        {
            **_fields(_text, "name oauth_key oauth_secret protocol transport serverType"),
            "replicas": _whole(),
            "annotations": _texts(),
            "predictors": _list(_predictor(), maxItems=MAX_PREDICTORS),
        },
        required=["predictors"],
        rules=SPEC_RULES,
    )


def _predictor() -> Schema:
    return _object(
        {
            "name": _text() | {"maxLength": MAX_NAME},
            **_fields(_whole, "replicas traffic"),
            "shadow": {"type": "boolean"},
            "progressDeadlineSeconds": _whole(),
            "labels": _texts(),
            "annotations": _texts(),
            "engineResources": _kept(),
            "ssl": _object({"certSecretName": _text()}),
            "svcOrchSpec": _object({"replicas": _whole(), "resources": _kept(), "env": _list(_kept())}),
            "explainer": _explainer(),
            "componentSpecs": _list(_component()),
            "graph": _node(GRAPH_DEPTH),
        },
        required=["name", "graph"],
        rules=PREDICTOR_RULES,
    )


def _explainer() -> Schema:
    return _object(
        {
            **_fields(
                _text, "type modelUri serviceAccountName envSecretRefName storageInitializerImage initParameters"
            ),
            "replicas": _whole(),
            "config": _texts(),
            "containerSpec": _kept(),
            "endpoint": _kept(),
        }
    )


def _component() -> Schema:
    pod = _kept(_fields(lambda: _list(_kept()), "containers initContainers volumes"))
    return _object(
        {
            "replicas": _whole(),
            "metadata": _kept(),
            "spec": pod,
            "hpaSpec": _kept(_fields(_whole, "minReplicas maxReplicas") | {"behavior": _kept()})
            | {"required": ["maxReplicas"]},
            "kedaSpec": _kept({"triggers": _list(_kept())}) | {"required": ["triggers"]},
            "pdbSpec": _object(_fields(lambda: {"x-kubernetes-int-or-string": True}, "minAvailable maxUnavailable")),
        }
    )


def _node(levels: int) -> Schema:
    """A node with ``levels`` levels of children."""
    if levels == 0:
        return _kept()
    level = GRAPH_DEPTH - levels
    bound = {"maxItems": MAX_CHILDREN} if level + 1 < RULED_LEVELS else {}
    parameter = _object(_fields(_text, "name value type"), required=["name", "value", "type"])
    return _object(
        {
            **_fields(_text, "name type implementation"),
            "methods": _list(_text()),
            **_fields(_text, "modelUri serviceAccountName envSecretRefName storageInitializerImage"),
            "endpoint": _object(
                {"service_host": _text(), **_fields(_whole, "service_port httpPort grpcPort"), "type": _text()},
            ),
            "logger": _object(_fields(_text, "mode url")),
            "parameters": _list(parameter),
            "children": _list(_node(levels - 1), **bound),
        },
        required=["name"],
        rules=NODE_RULES if level < RULED_LEVELS else (),
    )


def _object(
    properties: Mapping[str, Schema], *, required: list[str] | None = None, rules: tuple[Rule, ...] = ()
) -> Schema:
    checks = [{"rule": rule.expression, "message": rule.message} for rule in rules]
    parts: Schema = {"type": "object"}
    if required:
        parts["required"] = required
    if checks:
        parts["x-kubernetes-validations"] = checks
    return parts | {"properties": dict(properties)}


def _kept(properties: Mapping[str, Schema] | None = None) -> Schema:
    """An object of which unknown fields are kept."""
    known = {"properties": dict(properties)} if properties else {}
    return {"type": "object", "x-kubernetes-preserve-unknown-fields": True, **known}


def _list(items: Schema, **bounds: int) -> Schema:
    return {"type": "array", **bounds, "items": items}


def _fields(make: Any, names: str) -> dict[str, Schema]:
    return {name: make() for name in names.split()}


def _text() -> Schema:
    return {"type": "string"}


def _whole() -> Schema:
    return {"type": "integer", "format": "int32"}


def _texts() -> Schema:
    return {"type": "object", "additionalProperties": {"type": "string"}}
