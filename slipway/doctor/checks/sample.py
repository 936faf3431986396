"""The Pod that the controller makes of a plain SeldonDeployment: what a namespace must let in."""

from __future__ import annotations

import functools

from slipway.contract.sdep import SeldonDeployment
from slipway.controller.desired import desired
from slipway.controller.facts import Facts
from slipway.doctor.facts import Object

PLAIN: Object = {
    "apiVersion": "machinelearning.seldon.io/v1",
    "kind": "SeldonDeployment",
    "metadata": {"name": "plain", "namespace": "default", "uid": "00000000-0000-0000-0000-000000000000"},
    "spec": {
        "predictors": [
            {
                "name": "main",
                "graph": {"name": "model", "type": "MODEL", "modelUri": "s3://models/plain"},
                "componentSpecs": [{"spec": {"containers": [{"name": "model", "image": "example/model:1"}]}}],
            }
        ]
    },
}


@functools.cache
def sample_pod() -> Object:
    """The PodSpec: an executor, one component that says nothing of resources, an initializer of its model."""
    objects = desired(SeldonDeployment.from_json(PLAIN), Facts())
    spec: Object = next(obj for obj in objects if obj["kind"] == "Deployment")["spec"]["template"]["spec"]
    return spec


def containers_of(pod: Object) -> list[Object]:
    """Those that run side by side, and those before them."""
    return [*pod["containers"], *(pod.get("initContainers") or ())]
