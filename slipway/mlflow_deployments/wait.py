"""Until a SeldonDeployment is as its last edit wants it, with a line for each change on the way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

from mlflow.protos import databricks_pb2 as codes

from slipway.kube.client import Kube
from slipway.kube.errors import Temporary
from slipway.kube.kinds import SELDON_DEPLOYMENT
from slipway.mlflow_deployments.errors import DeploymentError

POLL_S = 0.5
AVAILABLE, FAILED = "Available", "Failed"
Progress = Callable[[str], None]


async def wait_available(
    kube: Kube, name: str, *, namespace: str, generation: int, timeout_s: float, progress: Progress
) -> None:
    """Return once ``generation`` (or a later one) is Available; an API that is away for a while is waited for.

    Raises:
        DeploymentError: the controller says Failed, or the time is over; with what the status says of why.
        KubeError: the API refuses.
    """
    deadline = time.monotonic() + timeout_s
    said = ""
    while True:
        try:
            status = _current(await kube.get(SELDON_DEPLOYMENT, name, namespace=namespace), generation)
            line = summary(name, status)
        except Temporary as error:
            status, line = {}, f"{name}: {error}"
        if line != said:
            progress(line)
            said = line
        if status.get("state") == AVAILABLE:
            return
        if status.get("state") == FAILED:
            raise DeploymentError(
                f"{name} cannot be deployed: {status.get('description') or line}", codes.INVALID_STATE
            )
        if time.monotonic() > deadline:
            raise DeploymentError(
                f"{line}: not Available after {timeout_s:g} s; it stays as it is: kubectl describe sdep {name} -n {namespace}",
                codes.DEADLINE_EXCEEDED,
            )
        await asyncio.sleep(POLL_S)


def _current(obj: Mapping[str, Any], generation: int) -> Mapping[str, Any]:
    """The status, if it is about ``generation``; nothing while the controller has not seen that yet."""
    status: Mapping[str, Any] = obj.get("status") or {}
    return status if int(status.get("observedGeneration") or 0) >= generation else {}


def summary(name: str, status: Mapping[str, Any]) -> str:
    """One line: the state, and each unready predictor with the reason."""
    waiting = [_unready(one) for one in status.get("predictors") or () if not one.get("ready")]
    return ": ".join(part for part in (name, str(status.get("state") or "accepted"), "; ".join(waiting)) if part)


def _unready(predictor: Mapping[str, Any]) -> str:
    known = " ".join(str(predictor[key]) for key in ("reason", "lastError") if predictor.get(key))
    return f"{predictor['name']} {known or 'is starting'}"
