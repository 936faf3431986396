"""Generated names (contract 2.1; behaviour 68)."""

from __future__ import annotations

import hashlib

from slipway.contract import names
from slipway.contract.sdep import PredictorSpec
from tests.contract.manifests import component, predictor


def spec(**fields: object) -> PredictorSpec:
    return PredictorSpec.from_json(predictor(**fields))


def test_deployment_is_named_after_its_containers_or_its_own_name():
    assert names.deployment_name("iris", spec(componentSpecs=[component("a", "b")]), 0) == "iris-main-0-a-b"
    named = spec(componentSpecs=[component("a"), component("b", metadata={"name": "heavy"})])
    assert names.deployment_name("iris", named, 1) == "iris-main-1-heavy"


def test_row_68_names_up_to_63_characters_stay_and_longer_ones_are_hashed():
    assert names.bounded("n" * 63) == "n" * 63
    long = "n" * 64
    assert names.bounded(long) == f"seldon-{hashlib.md5(long.encode()).hexdigest()}"
    assert len(names.deployment_name("iris", spec(componentSpecs=[component(*"abcdefgh" * 4)]), 0)) == 39


def test_row_68_long_names_of_deployments_keep_their_seldon_deployment_s_name_where_told_and_where_it_fits():
    long = spec(componentSpecs=[component(*"abcdefgh" * 4)])
    whole = f"iris-main-0-{'-'.join('abcdefgh' * 4)}"
    assert names.deployment_name("iris", long, 0, is_prefixed=True) == f"iris-{hashlib.md5(whole.encode()).hexdigest()}"
    assert names.deployment_name("iris", spec(componentSpecs=[component("a")]), 0, is_prefixed=True) == "iris-main-0-a"
    assert len(names.deployment_name("n" * 30, long, 0, is_prefixed=True)) == 63
    assert names.deployment_name("n" * 31, long, 0, is_prefixed=True).startswith("seldon-")
    separate = names.orchestrator_deployment_name("n" * 30, spec(name="p" * 40), is_prefixed=True)
    assert separate.startswith("n" * 30 + "-")


def test_service_name_of_the_annotation_wins():
    assert names.predictor_service_name("iris", spec()) == "iris-main"
    assert names.predictor_service_name("iris", spec(annotations={"seldon.io/svc-name": "front"})) == "front"
