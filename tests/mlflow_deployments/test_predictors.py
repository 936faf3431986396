"""What an update does to the predictors of a SeldonDeployment."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException

from slipway.contract.admission import review
from slipway.mlflow_deployments.predictors import (
    Model,
    find,
    main,
    model_uri,
    new_predictor,
    promotion,
    seldon_deployment,
    with_canary,
    with_model,
    with_traffic,
    without,
)
from slipway.mlflow_deployments.settings import DeploySettings
from tests.data import REPOSITORY

OLD, NEW = Model("models:/shapes/1", "192x192"), Model("models:/shapes@challenger", "416x416")
DEFAULTS = DeploySettings()


def manifest(path: str) -> list[dict[str, Any]]:
    loaded = yaml.safe_load((REPOSITORY / "seldon" / path).read_text())
    predictors: list[dict[str, Any]] = loaded["spec"]["predictors"]
    return predictors


def assert_admitted(predictors: list[dict[str, Any]]) -> None:
    causes = review(seldon_deployment("yolo", "default", {"predictors": predictors}))
    assert causes == []


def traffic(predictors: list[dict[str, Any]]) -> dict[str, int]:
    return {one["name"]: one["traffic"] for one in predictors}


def test_new_predictor_is_the_form_of_the_base_manifest() -> None:
    made = new_predictor(OLD, DeploySettings(confidence=0.25, iou=0.45))
    assert [made] == manifest("base/yolo/seldondeployment.yaml")


def test_canary_beside_it_is_the_form_of_the_overlay() -> None:
    settings = DeploySettings(confidence=0.25, iou=0.45)
    before = [new_predictor(OLD, settings)]
    canary = with_traffic(with_canary(before, Model("models:/shapes/2", "192x192"), DEFAULTS), "canary", 10)
    assert canary == manifest("overlays/canary/seldondeployment.yaml")
    assert_admitted(canary)


def test_settings_reach_the_manifest() -> None:
    settings = DeploySettings(replicas=3, engine="openvino", follow=True, tag="9", predictor="main")
    made = new_predictor(NEW, settings)
    detector = made["graph"]["children"][0]
    assert (made["name"], made["replicas"], made["annotations"]) == ("main", 3, {"slipway.dev/follow-alias": "true"})
    assert detector["parameters"] == [{"name": "engine", "value": "openvino", "type": "STRING"}]
    assert [one["image"] for one in made["componentSpecs"][0]["spec"]["containers"]] == [
        "slipway/image-transformer:9",
        "slipway/yolo-detector:9",
    ]
    assert_admitted([made])


def test_graph_of_ones_own_keeps_its_nodes_and_gets_the_model() -> None:
    (before,) = manifest("overlays/tutorial/seldondeployment.yaml")
    unchanged = copy.deepcopy(before)
    after = with_model(before, NEW, DeploySettings(confidence=0.7))
    assert before == unchanged
    eyes = after["graph"]["children"][0]
    assert (after["graph"]["name"], model_uri(after)) == ("tutorial-response", NEW.uri)
    values = {one["name"]: one["value"] for one in (*eyes["parameters"], *eyes["children"][0]["parameters"])}
    assert values == {
        "sharpness": "1.2", "jpeg_quality": "75", "input": "416x416", "confidence": "0.7", "iou": "0.45", "nms": "obj",
        "boxes": "raw",
    }  # fmt: skip
    assert_admitted([after])


def test_canary_shares_neither_service_nor_label_with_the_original() -> None:
    before = new_predictor(OLD, DEFAULTS)
    before["annotations"] = {"seldon.io/svc-name": "mine", "kept": "yes"}
    before["labels"] = {"version": "v1", "team": "birds"}
    predictors = with_traffic(with_canary([before], NEW, DEFAULTS), "canary", 50)
    assert predictors[1]["annotations"] == {"kept": "yes"}
    assert predictors[1]["labels"] == {"team": "birds"}
    assert_admitted(predictors)


def test_second_model_for_a_canary_changes_it() -> None:
    before = with_canary([new_predictor(OLD, DEFAULTS)], OLD, DEFAULTS)
    after = with_canary(before, NEW, DEFAULTS)
    assert [(one["name"], model_uri(one)) for one in after] == [("stable", OLD.uri), ("canary", NEW.uri)]


def test_promotion_serves_from_the_canary_until_the_main_one_has_its_model() -> None:
    before = with_traffic(with_canary([new_predictor(OLD, DeploySettings(replicas=2))], NEW, DEFAULTS), "canary", 50)
    during, after = promotion(before, "canary")
    assert traffic(during) == {"stable": 0, "canary": 100}
    assert traffic(after) == {"stable": 100}
    assert [model_uri(one) for one in during] == [NEW.uri, NEW.uri]
    assert after[0]["replicas"] == 2
    assert {**after[0], "traffic": 0} == during[0]
    assert_admitted(during)
    assert_admitted(after)


def test_promoted_predictor_keeps_what_is_its_own() -> None:
    (before,) = manifest("base/yolo/seldondeployment.yaml")
    before |= {
        "annotations": {"seldon.io/svc-name": "detector", "a": "1"},
        "labels": {"version": "blue"},
        "replicas": 3,
    }
    canary = with_model(with_canary([before], NEW, DEFAULTS)[1], NEW, DeploySettings(replicas=1))
    assert (canary["annotations"], "labels" in canary) == ({"a": "1"}, False)
    during, (after,) = promotion(with_traffic([before, {**canary, "annotations": {"a": "2"}}], "canary", 10), "canary")
    for one in (during[0], after):
        assert (one["name"], model_uri(one), one["replicas"]) == ("stable", NEW.uri, 3)
        assert (one["annotations"], one["labels"]) == (
            {"a": "2", "seldon.io/svc-name": "detector"},
            {"version": "blue"},
        )
    assert_admitted(during)
    assert_admitted([after])


def test_shadow_is_left_alone() -> None:
    shadow = {**new_predictor(OLD, DeploySettings(predictor="shadow")), "shadow": True, "traffic": 0}
    before = [shadow, new_predictor(OLD, DEFAULTS)]
    assert main(before)["name"] == "stable"
    canary = with_traffic(with_canary(before, NEW, DEFAULTS), "canary", 30)
    assert traffic(canary) == {"shadow": 0, "stable": 70, "canary": 30}
    assert traffic(promotion(canary, "canary")[1]) == {"shadow": 0, "stable": 100}


@given(st.lists(st.integers(0, 100), min_size=1, max_size=5), st.integers(0, 100))
def test_live_percentages_always_add_up(weights: list[int], percent: int) -> None:
    others = [
        {**new_predictor(OLD, DeploySettings(predictor=f"p{i}")), "traffic": part} for i, part in enumerate(weights)
    ]
    after = with_traffic(with_canary(others, NEW, DEFAULTS), "canary", percent)
    assert (sum(traffic(after).values()), traffic(after)["canary"]) == (100, percent)
    assert min(traffic(after).values()) >= 0
    for name in list(traffic(after)):
        assert sum(traffic(without(after, name)).values()) == 100


TWO = with_canary([new_predictor(OLD, DEFAULTS)], NEW, DEFAULTS)
THREE = with_canary(TWO, NEW, DeploySettings(predictor="third"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda: with_traffic(TWO[:1], "canary", 10),
            "no predictor 'canary' to give 10 % to, only stable: a model .*-m MODEL_URI, in Python model_uri=",
        ),
        (lambda: with_traffic(TWO[:1], "stable", 10), "'stable' is the only predictor"),
        (lambda: promotion(TWO[:1], "canary"), "promote takes two predictors.*there are: stable"),
        (lambda: promotion(THREE, "canary"), "there are: stable, canary, third"),
        (lambda: without(TWO, "nobody"), "cannot be removed: there are stable, canary"),
        (lambda: without(TWO[:1], "stable"), "one must stay"),
        (lambda: with_model({"name": "p", "graph": {"name": "n"}}, NEW, DEFAULTS), "'p' has 0 nodes with a modelUri"),
        (lambda: new_predictor(OLD, DeploySettings(follow=True)), "models:/shapes/1 is one version for ever"),
    ],
)
def test_change_that_makes_no_sense_says_why(change: Any, said: str) -> None:
    with pytest.raises(MlflowException, match=said):
        change()


def test_find_gives_a_predictor_or_nothing() -> None:
    assert find(TWO, "canary") is TWO[1]
    assert find(TWO, "nobody") is None
