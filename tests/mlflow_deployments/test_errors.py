"""Every failure is an MlflowException with MLflow's code, and one line on the command line."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner
from mlflow.exceptions import MlflowException

from slipway.client import errors as client
from slipway.kube import errors as kube
from slipway.mlflow_deployments.errors import DeploymentError, as_mlflow_errors, invalid
from slipway.registry import ModelNotFound, RegistryRefused, RegistryUnavailable
from slipway.release import RollbackRefused


def status(code: int, reason: str = "") -> Exception:
    return kube.error_of({"code": code, "reason": reason, "message": "said"})


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (status(404), "RESOURCE_DOES_NOT_EXIST"),
        (status(409, "AlreadyExists"), "RESOURCE_ALREADY_EXISTS"),
        (status(409), "RESOURCE_CONFLICT"),
        (status(403), "PERMISSION_DENIED"),
        (status(401), "UNAUTHENTICATED"),
        (status(422), "INVALID_PARAMETER_VALUE"),
        (status(429), "TEMPORARILY_UNAVAILABLE"),
        (status(500), "INTERNAL_ERROR"),
        (kube.Unavailable("said"), "TEMPORARILY_UNAVAILABLE"),
        (kube.ConfigError("said"), "INVALID_PARAMETER_VALUE"),
        (ModelNotFound("said"), "RESOURCE_DOES_NOT_EXIST"),
        (RegistryRefused("said"), "PERMISSION_DENIED"),
        (RegistryUnavailable("said"), "TEMPORARILY_UNAVAILABLE"),
        (client.InvalidPhoto("said"), "INVALID_PARAMETER_VALUE"),
        (client.Unreachable("said", was_sent=False), "TEMPORARILY_UNAVAILABLE"),
        (client.DeadlineExceeded("said"), "DEADLINE_EXCEEDED"),
        (client.Refused(415, reason="UNSUPPORTED_MEDIA_TYPE", info="said"), "INVALID_PARAMETER_VALUE"),
        (client.Refused(404, reason="ROUTE_NOT_FOUND", info="said"), "RESOURCE_DOES_NOT_EXIST"),
        (client.Failed(503, reason="NO_READY_PREDICTOR", info="said"), "TEMPORARILY_UNAVAILABLE"),
        (client.Failed(500, reason="", info="said"), "INTERNAL_ERROR"),
        (client.UnexpectedReply("said"), "INTERNAL_ERROR"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{type(value).__name__}",
)
def test_each_failure_has_its_code_and_names_the_deployment(error: Exception, code: str) -> None:
    with pytest.raises(MlflowException, match="^yolo: .*said") as raised, as_mlflow_errors("yolo"):
        raise error
    assert raised.value.error_code == code
    assert raised.value.__cause__ is error


def test_conflict_says_how_to_take_over() -> None:
    with (
        pytest.raises(MlflowException, match=r"-C force=true \(in Python config={'force': True}\)"),
        as_mlflow_errors("yolo"),
    ):
        raise status(409)


def test_sentence_that_names_the_deployment_is_not_named_twice() -> None:
    with pytest.raises(MlflowException) as raised, as_mlflow_errors("yolo"):
        raise RollbackRefused("yolo: no predictor follows an alias")
    assert raised.value.message == "yolo: no predictor follows an alias"


def test_bug_of_ours_stays_what_it_is() -> None:
    with pytest.raises(ZeroDivisionError), as_mlflow_errors("yolo"):
        1 / 0  # noqa: B018


def test_command_line_shows_one_line() -> None:
    @click.command()
    def command() -> None:
        raise invalid("yolo: no such thing")

    shown = CliRunner().invoke(command)
    assert (shown.exit_code, shown.output) == (1, "Error: yolo: no such thing (INVALID_PARAMETER_VALUE)\n")
    assert issubclass(DeploymentError, MlflowException)
