"""SeldonDeployments of one predictor, as values."""

from __future__ import annotations

from typing import Any

IMAGES = {"image-transformer": "slipway/image-transformer:0.1.0", "yolo-detector": "slipway/yolo-detector:0.1.0"}


def chain(name: str, model_uri: str, *, size: str) -> dict[str, Any]:
    """Transformer → detector, all traffic."""
    return sdep(
        name,
        {
            "name": "image-transformer",
            "type": "TRANSFORMER",
            "parameters": [{"name": "input", "value": size, "type": "STRING"}],
            "children": [detector(model_uri)],
        },
        ["image-transformer", "yolo-detector"],
    )


def detector(model_uri: str) -> dict[str, Any]:
    return {"name": "yolo-detector", "type": "MODEL", "modelUri": model_uri}


def sdep(name: str, graph: dict[str, Any], containers: list[str]) -> dict[str, Any]:
    listed = [{"name": container, "image": IMAGES[container]} for container in containers]
    predictor = {
        "name": "default",
        "replicas": 1,
        "traffic": 100,
        "graph": graph,
        "componentSpecs": [{"spec": {"containers": listed}}],
    }
    return {
        "apiVersion": "machinelearning.seldon.io/v1",
        "kind": "SeldonDeployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"predictors": [predictor]},
    }
