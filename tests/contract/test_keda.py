"""What a kedaSpec means on one machine."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.contract.keda import may_rest, rests_only_here, without_effect_here

CPU = {"type": "cpu", "metricType": "Utilization", "metadata": {"value": "80"}}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, True),
        ({"minReplicaCount": 0}, True),
        ({"minReplicaCount": 1}, False),
        ({"minReplicaCount": 2, "idleReplicaCount": 0}, True),
    ],
)
def test_may_rest_is_kedas_rule(spec: dict[str, Any], expected: bool) -> None:
    assert may_rest(spec) is expected


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"minReplicaCount": 0, "triggers": [CPU]}, True),
        ({"triggers": [CPU, {"type": "memory"}]}, True),
        ({"minReplicaCount": 1, "triggers": [CPU]}, False),
        ({"minReplicaCount": 0, "triggers": [CPU, {"type": "prometheus"}]}, False),
    ],
)
def test_keda_keeps_a_replica_where_only_cpu_and_memory_are_asked(spec: dict[str, Any], expected: bool) -> None:
    assert rests_only_here(spec) is expected


@pytest.mark.parametrize(
    ("spec", "fields"),
    [
        ({"minReplicaCount": 0, "maxReplicaCount": 3, "cooldownPeriod": 9, "triggers": [CPU]}, []),
        ({"triggers": [CPU, {"type": "prometheus"}, {}]}, ["triggers[1]", "triggers[2]"]),
        ({"pollingInterval": 5, "advanced": {}, "fallback": {}}, ["pollingInterval", "advanced", "fallback"]),
    ],
)
def test_fields_that_only_a_cluster_carries_out_are_named(spec: dict[str, Any], fields: list[str]) -> None:
    assert [name for name, _ in without_effect_here(spec)] == fields
