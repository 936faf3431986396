"""Small SeldonDeployments for tests, as a person would write them."""

from __future__ import annotations

from typing import Any

Manifest = dict[str, Any]


def node(name: str = "clf", **fields: Any) -> Manifest:
    return {"name": name, **fields}


def component(*containers: str, **fields: Any) -> Manifest:
    return {"spec": {"containers": [{"name": name, "image": f"example/{name}:0.1"} for name in containers]}, **fields}


def predictor(name: str = "main", graph: Manifest | None = None, **fields: Any) -> Manifest:
    graph = graph or node()
    if "componentSpecs" not in fields:
        fields["componentSpecs"] = [component(*_names(graph))]
    return {"name": name, "graph": graph, **fields}


def sdep(*predictors: Manifest, name: str = "iris", metadata: Manifest | None = None, **spec: Any) -> Manifest:
    return {
        "apiVersion": "machinelearning.seldon.io/v1",
        "kind": "SeldonDeployment",
        "metadata": {"name": name, "namespace": "team", "uid": "uid-1", "generation": 1, **(metadata or {})},
        "spec": {"predictors": list(predictors) or [predictor()], **spec},
    }


def _names(graph: Manifest) -> list[str]:
    built_in = ("RANDOM_ABTEST", "SIMPLE_MODEL", "SIMPLE_ROUTER", "AVERAGE_COMBINER")
    below = [name for child in graph.get("children", []) for name in _names(child)]
    return below if graph.get("implementation") in built_in else [graph["name"], *below]
