"""One owner of a Deployment's replicas: ours until an autoscaler has them, then the autoscaler's."""

from __future__ import annotations

from typing import Any

from slipway.controller.autoscaling import kept_replicas
from slipway.controller.meta import MANAGER

WANTED = {"kind": "Deployment", "metadata": {"name": "d"}, "spec": {"template": {}}}


def found(manager: str, operation: str, replicas: int, **entry: Any) -> dict[str, Any]:
    fields = {"manager": manager, "operation": operation, "fieldsV1": {"f:spec": {"f:replicas": {}}}, **entry}
    return {
        **WANTED,
        "metadata": {"name": "d", "managedFields": [fields]},
        "spec": {"template": {}, "replicas": replicas},
    }


def test_replicas_that_we_wrote_stay_until_the_autoscaler_writes_its_own():
    assert kept_replicas(WANTED, found(MANAGER, "Apply", 3))["spec"] == {"template": {}, "replicas": 3}


def test_replicas_of_an_autoscaler_or_a_person_are_left_alone():
    for other in (found("slipway-autoscaler", "Update", 3, subresource="scale"), found("kubectl", "Apply", 3)):
        assert kept_replicas(WANTED, other) == WANTED
    assert kept_replicas(WANTED, None) == WANTED


def test_declared_replicas_are_written():
    declared = {**WANTED, "spec": {"template": {}, "replicas": 5}}
    assert kept_replicas(declared, found(MANAGER, "Apply", 3)) == declared
