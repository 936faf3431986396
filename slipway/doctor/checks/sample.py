"""The Pod that the controller makes of a plain SeldonDeployment: what a namespace must let in."""

from __future__ import annotations

import functools

from slipway.contract.sdep import SeldonDeployment
from slipway.controller.desired import desired
from slipway.controller.facts import Facts
from slipway.doctor.facts import Object


def _seldon_deployment(name: str, predictor: str, node: str) -> Object:
    return {
        "apiVersion": "machinelearning.seldon.io/v1",
        "kind": "SeldonDeployment",
        "metadata": {"name": name, "namespace": "default", "uid": "00000000-0000-0000-0000-000000000000"},
        "spec": {
            "predictors": [
                {
                    "name": predictor,
                    "graph": {"name": "model", "type": node, "modelUri": "s3://models/plain"},
                    "componentSpecs": [{"spec": {"containers": [{"name": "model", "image": "example/model:1"}]}}],
                }
            ]
        },
    }


PLAIN = _seldon_deployment("plain", "main", "MODEL")
OTHER = _seldon_deployment("other", "next", "TRANSFORMER")


@functools.cache
def sample_pod() -> Object:
    """The PodSpec: an executor, one component that says nothing of resources, an initializer of its model."""
    spec: Object = _template(PLAIN)["spec"]
    return spec


@functools.cache
def labels_of_every_pod() -> Object:
    """Those that Pods of SeldonDeployments have, whatever they are called and do."""
    one, other = (_template(item)["metadata"]["labels"] for item in (PLAIN, OTHER))
    return {key: value for key, value in one.items() if other.get(key) == value}


def _template(item: Object) -> Object:
    objects = desired(SeldonDeployment.from_json(item), Facts())
    template: Object = next(obj for obj in objects if obj["kind"] == "Deployment")["spec"]["template"]
    return template


def containers_of(pod: Object) -> list[Object]:
    """Those that run side by side, and those before them."""
    return [*pod["containers"], *(pod.get("initContainers") or ())]
