"""A key that a command does nothing with is refused before anything is asked."""

from __future__ import annotations

from typing import Any

import pytest
from mlflow.exceptions import MlflowException

from slipway.mlflow_deployments.commands import KEYS_OF, Command, refuse_idle_keys
from slipway.mlflow_deployments.plugin import SlipwayDeploymentClient
from slipway.mlflow_deployments.settings import KEYS, DeploySettings

MODEL = "models:/shapes/1"


@pytest.mark.parametrize(
    ("method", "uri", "config", "said"),
    [
        ("create", MODEL, {"traffic": 0}, "-C traffic does nothing in `create`"),
        ("create", MODEL, {"why": "because"}, "-C why does nothing in `create`"),
        ("update", MODEL, {"tag": "9"}, "-C tag does nothing in `update with -m`"),
        ("update", None, {"input": "1x1"}, "-C input does nothing in `update`"),
        (
            "update",
            None,
            {"traffic": 5, "iou": 0.5, "replicas": 2},
            "-C replicas, -C iou does nothing in `update with -C tr",
        ),
        (
            "update",
            None,
            {"promote": True, "confidence": 0.5},
            "-C confidence does nothing in `update with -C promote=true`",
        ),
        (
            "update",
            None,
            {"rollback": True, "timeout_s": 5},
            "-C timeout_s does nothing in `update with -C rollback=true`",
        ),
        ("delete", None, {"traffic": 0}, "-C traffic does nothing in `delete`, which takes namespace"),
        ("delete", None, {"rollback": True}, "-C rollback does nothing in `delete`"),
        ("delete", None, {"predictor": "canary", "why": "slow"}, "-C why does nothing in `delete with -C predictor`"),
    ],
)
def test_key_that_does_nothing_is_refused(method: str, uri: str | None, config: dict[str, Any], said: str) -> None:
    client = SlipwayDeploymentClient("slipway:/nowhere")
    model = {} if method == "delete" else {"model_uri": uri}
    with pytest.raises(MlflowException, match=said) as refused:
        getattr(client, f"{method}_deployment")("iris", config=config, **model)
    assert refused.value.error_code == "INVALID_PARAMETER_VALUE"


def test_every_key_is_some_commands_and_every_command_has_its_keys() -> None:
    assert KEYS_OF.keys() == set(Command)
    assert frozenset().union(*KEYS_OF.values()) == KEYS.keys()


@pytest.mark.parametrize("command", Command)
def test_default_that_is_spelled_out_says_nothing(command: Command) -> None:
    refuse_idle_keys(command, DeploySettings(promote=False, rollback=False, wait=True, force=False, follow=None))
