"""SeaweedFS and Seldon Core: every key is their chart's; what both worlds must agree on."""

from __future__ import annotations

import re

import pytest

from slipway.onebox.services.swift import BUCKET, TRAINING_BUCKET
from tests.helm_values import keys
from tests.helm_values.charts import DEFAULTS, FOLDER, Values, charts, defaults, load, merge

pytestmark = pytest.mark.data
COMMENTED = {"seaweedfs": ("s3.createBuckets",), "seldon-core-operator": ()}
"""Keys that a template reads and values.yaml has as a comment only."""


def _complaints(chart: str, values: Values) -> list[str]:
    return keys.complaints(values, defaults(chart), also=COMMENTED[chart])


def test_metrics_of_the_store_are_a_switch_of_the_chart() -> None:
    more = load(FOLDER / "seaweedfs-metrics.yaml")
    assert not _complaints("seaweedfs", merge(_given("seaweedfs"), more))
    assert more["global"]["seaweedfs"]["monitoring"] == {"enabled": True}


def _given(name: str, *, small: bool = False) -> Values:
    chart = charts()[name]
    values: Values = {}
    for path in (*chart.files, *(chart.small if small else ())):
        values = merge(values, load(path))
    return values


@pytest.mark.parametrize("small", [False, True], ids=["whole", "small"])
@pytest.mark.parametrize("chart", sorted(COMMENTED))
def test_chart_has_every_key(chart: str, small: bool) -> None:
    assert not _complaints(chart, _given(chart, small=small))


@pytest.mark.parametrize(
    ("chart", "wrong"),
    [
        ("seaweedfs", {"s3": {"enabledAuth": True}}),
        ("seaweedfs", {"master": {"replicas": "3"}}),
        ("seaweedfs", {"volume": {"dataDirs": {"name": "data1"}}}),
        ("seldon-core-operator", {"controllerID": "seldon-core"}),
        ("seldon-core-operator", {"istio": {"enable": True}}),
        ("seldon-core-operator", {"crd": "none"}),
    ],
)
def test_wrong_key_is_found(chart: str, wrong: Values) -> None:
    assert len(_complaints(chart, wrong)) == 1


def test_commented_keys_are_in_the_comments() -> None:
    for chart, paths in COMMENTED.items():
        text = DEFAULTS[chart].read_text()
        assert all(re.search(rf"^ *# {path.rpartition('.')[2]}:", text, re.MULTILINE) for path in paths)


def test_store_has_the_buckets_of_one_machine() -> None:
    buckets = {item["name"]: item for item in _given("seaweedfs")["s3"]["createBuckets"]}
    assert {BUCKET, TRAINING_BUCKET} <= set(buckets)
    assert buckets[BUCKET]["versioning"] == "Enabled"
    assert not any(item["anonymousRead"] for item in buckets.values())


@pytest.mark.parametrize(("small", "copies"), [(False, 2), (True, 1)], ids=["whole", "small"])
def test_store_has_as_many_servers_as_copies(small: bool, copies: int) -> None:
    """A placement `xyz` makes x + y + z copies beside the first (SeaweedFS, "Replication")."""
    values = merge(defaults("seaweedfs"), _given("seaweedfs", small=small))
    shared = values["global"]["seaweedfs"]
    placement = (
        shared["replicationPlacement"] if shared["enableReplication"] else values["master"]["defaultReplication"]
    )
    assert 1 + sum(map(int, placement)) == copies <= values["volume"]["replicas"]
    assert values["s3"]["enableAuth"]
    assert values["s3"]["existingConfigSecret"]


def test_store_keeps_everything_on_volumes_of_its_own() -> None:
    values = _given("seaweedfs")
    kept = [values["master"]["data"], values["filer"]["data"], *values["volume"]["dataDirs"]]
    assert {item["type"] for item in kept} == {"persistentVolumeClaim"}


def test_seldon_core_shares_the_cluster() -> None:
    values = _given("seldon-core-operator")
    assert values["controllerId"]
    assert values["crd"] == {"create": False}
    assert values["istio"]["gateway"] == "istio-system/seldon-gateway"
    assert not values["usageMetrics"]["enabled"]
