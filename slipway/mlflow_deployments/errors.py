"""Every failure of the plugin as the exception that MLflow's callers expect, with MLflow's code for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import click
from mlflow.exceptions import MlflowException
from mlflow.protos import databricks_pb2 as codes

from slipway.client import errors as client
from slipway.kube import errors as kube
from slipway.registry import errors as registry
from slipway.release import errors as release

_CODES: tuple[tuple[type[Exception], int], ...] = (
    (kube.NotFound, codes.RESOURCE_DOES_NOT_EXIST),
    (kube.AlreadyExists, codes.RESOURCE_ALREADY_EXISTS),
    (kube.Conflict, codes.RESOURCE_CONFLICT),
    (kube.Forbidden, codes.PERMISSION_DENIED),
    (kube.Unauthorized, codes.UNAUTHENTICATED),
    (kube.Invalid, codes.INVALID_PARAMETER_VALUE),
    (kube.BadRequest, codes.INVALID_PARAMETER_VALUE),
    (kube.ConfigError, codes.INVALID_PARAMETER_VALUE),
    (kube.ServerError, codes.INTERNAL_ERROR),
    (kube.Temporary, codes.TEMPORARILY_UNAVAILABLE),
    (registry.ModelNotFound, codes.RESOURCE_DOES_NOT_EXIST),
    (registry.InvalidModelUri, codes.INVALID_PARAMETER_VALUE),
    (registry.RegistryRefused, codes.PERMISSION_DENIED),
    (registry.MovedElsewhere, codes.RESOURCE_CONFLICT),
    (registry.InvalidMove, codes.INVALID_PARAMETER_VALUE),
    (registry.RegistryUnavailable, codes.TEMPORARILY_UNAVAILABLE),
    (release.RollbackRefused, codes.INVALID_STATE),
    (release.RollbackTimeout, codes.DEADLINE_EXCEEDED),
    (client.InvalidAddress, codes.INVALID_PARAMETER_VALUE),
    (client.InvalidPhoto, codes.INVALID_PARAMETER_VALUE),
    (client.Unreachable, codes.TEMPORARILY_UNAVAILABLE),
    (client.DeadlineExceeded, codes.DEADLINE_EXCEEDED),
)
_BY_STATUS = {
    401: codes.UNAUTHENTICATED,
    403: codes.PERMISSION_DENIED,
    404: codes.RESOURCE_DOES_NOT_EXIST,
    429: codes.REQUEST_LIMIT_EXCEEDED,
    503: codes.TEMPORARILY_UNAVAILABLE,
    504: codes.DEADLINE_EXCEEDED,
}


class DeploymentError(MlflowException, click.ClickException):  # type: ignore[misc]  # MLflow is untyped
    """An MlflowException that ``mlflow deployments`` prints as one line: its command line shows others as a traceback."""

    exit_code = 1

    def __init__(self, message: str, error_code: int = codes.INTERNAL_ERROR) -> None:
        MlflowException.__init__(self, message, error_code=error_code)

    def format_message(self) -> str:
        return str(self.message)

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"Error: {self.message} ({self.error_code})", file=file, err=file is None)


def invalid(message: str) -> DeploymentError:
    """The caller's own mistake."""
    return DeploymentError(message, codes.INVALID_PARAMETER_VALUE)


def both_ways(**config: object) -> str:
    """A configuration as the command line and as Python take it: ``-C force=true (in Python config={'force': True})``."""
    words = " ".join(
        f"-C {key}={str(value).lower() if isinstance(value, bool) else value}" for key, value in config.items()
    )
    return f"{words} (in Python config={config})"


@contextmanager
def as_mlflow_errors(subject: str) -> Iterator[None]:
    """Failures of the cluster, the registry and the deployment, each with ``subject`` before its sentence, once."""
    try:
        yield
    except (kube.KubeError, registry.RegistryError, release.ReleaseError, client.ClientError) as error:
        sentence = _sentence(error)
        named = sentence if sentence.startswith(f"{subject}: ") else f"{subject}: {sentence}"
        raise DeploymentError(named, code_of(error)) from error


def code_of(error: Exception) -> int:
    """MLflow's code for one of our errors."""
    if isinstance(error, client.AnswerError):
        fallback = codes.INVALID_PARAMETER_VALUE if error.code < 500 else codes.INTERNAL_ERROR
        return _BY_STATUS.get(error.code, fallback)
    return next((code for kind, code in _CODES if isinstance(error, kind)), codes.INTERNAL_ERROR)


def _sentence(error: Exception) -> str:
    if isinstance(error, kube.Conflict):
        return f"{error}: {both_ways(force=True)} takes it over"
    if isinstance(error, registry.MovedElsewhere):
        return f"{error}: look at that version, then say it again"
    if isinstance(error, kube.Unavailable):
        return f"{error}: is the platform up? `slipway status` tells"
    return str(error)
