"""Which alias a promotion moves, and when it moves none."""

from __future__ import annotations

from typing import Any

import pytest
from mlflow.exceptions import MlflowException

from slipway.contract.following import Following, NodeModel, Revision
from slipway.mlflow_deployments.predictors import CANARY, Model, new_predictor, with_canary, with_traffic
from slipway.mlflow_deployments.release import Promotion, plan_promotion, registry_address
from slipway.mlflow_deployments.settings import DeploySettings

FOLLOWING = DeploySettings(follow=True)
STABLE = Model("models:/shapes@champion", "192x192")


def deployment(*, canary: str = "models:/shapes@challenger", settings: DeploySettings = FOLLOWING) -> dict[str, Any]:
    """A canary beside a predictor, with the versions that the controller would have found."""
    before = [new_predictor(STABLE, settings)]
    predictors = with_traffic(with_canary(before, Model(canary, "192x192"), DeploySettings()), CANARY, 10)
    name = canary.removeprefix("models:/").replace("/", "@").partition("@")[0]
    models = [
        {"predictor": "stable", "node": "yolo-detector", "name": "shapes", "version": "1"},
        {"predictor": CANARY, "node": "yolo-detector", "name": name, "version": "2"},
    ]
    return {"metadata": {"name": "yolo"}, "spec": {"predictors": predictors}, "status": {"models": models}}


@pytest.mark.parametrize("canary", ["models:/shapes@challenger", "models:/shapes/2"])
def test_promotion_moves_the_followed_alias_to_the_canarys_version(canary: str) -> None:
    assert plan_promotion(deployment(canary=canary), CANARY) == Promotion("stable", "shapes", "champion", "2")


def test_promotion_knows_what_the_alias_named_until_then() -> None:
    obj = deployment()
    (node,) = (one["name"] for one in obj["spec"]["predictors"][0]["graph"]["children"])
    model = NodeModel(node, STABLE.uri, "shapes", "1", "", "s3://a/b")
    state = Following("stable", Revision.of("stable", (model,)), rejected={node: "7"})
    obj["status"]["following"] = [state.to_json()]
    planned = plan_promotion(obj, CANARY)
    assert planned == Promotion("stable", "shapes", "champion", "2", ("1", "7", "2"))


def test_following_may_be_asked_for_in_the_spec_and_refused_at_the_predictor() -> None:
    obj = deployment(settings=DeploySettings())
    assert plan_promotion(obj, CANARY) is None
    obj["spec"]["annotations"] = {"slipway.dev/follow-alias": "true"}
    assert plan_promotion(obj, CANARY) == Promotion("stable", "shapes", "champion", "2")
    obj["spec"]["predictors"][0]["annotations"] = {"slipway.dev/follow-alias": "false"}
    assert plan_promotion(obj, CANARY) is None


def test_what_serves_one_version_for_ever_follows_nothing() -> None:
    obj = deployment()
    obj["spec"]["predictors"][0]["graph"]["children"][0]["modelUri"] = "models:/shapes/1"
    assert plan_promotion(obj, CANARY) is None


def test_promotion_without_a_canary_says_how_to_add_one() -> None:
    obj = deployment()
    del obj["spec"]["predictors"][1]
    said = r"no predictor 'canary' to promote: .* -C traffic=10 \(in Python config={'traffic': 10}\) adds it: -m MODEL_URI, "
    with pytest.raises(MlflowException, match=said):
        plan_promotion(obj, CANARY)


def test_canary_of_another_model_is_not_promoted_by_alias() -> None:
    obj = deployment(canary="models:/cells@champion")
    with pytest.raises(MlflowException, match="runs cells, but 'stable' follows an alias of shapes"):
        plan_promotion(obj, CANARY)


def test_canary_whose_version_is_not_known_yet_waits() -> None:
    obj = deployment()
    obj["status"] = {}
    with pytest.raises(MlflowException, match="not known yet") as refused:
        plan_promotion(obj, CANARY)
    assert refused.value.error_code == "INVALID_STATE"


def test_registry_is_the_one_that_mlflow_is_set_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlflow.get_tracking_uri", lambda: "http://127.0.0.1:5000")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ann")
    assert (registry_address().uri, registry_address().username) == ("http://127.0.0.1:5000", "ann")
    monkeypatch.setattr("mlflow.get_tracking_uri", lambda: "sqlite:///mlflow.db")
    with pytest.raises(MlflowException, match="sqlite:///mlflow.db is no MLflow server"):
        registry_address()
    monkeypatch.setattr("mlflow.get_tracking_uri", lambda: "postgresql://ann:secret@db/mlflow")
    with pytest.raises(MlflowException, match="postgresql://db/mlflow is no MLflow server"):
        registry_address()
