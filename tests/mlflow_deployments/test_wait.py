"""Waiting for a SeldonDeployment, over scripted answers of the API."""

from __future__ import annotations

from typing import Any, cast

import pytest
from mlflow.exceptions import MlflowException

from slipway.kube.client import Kube
from slipway.kube.errors import NotFound, Unavailable
from slipway.mlflow_deployments import wait
from slipway.mlflow_deployments.wait import wait_available


class Api:
    """Answers ``get`` with one status after another, the last for ever."""

    def __init__(self, *statuses: Any) -> None:
        self.statuses = list(statuses)

    async def get(self, kind: Any, name: str, *, namespace: str) -> dict[str, Any]:
        found = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        if isinstance(found, Exception):
            raise found
        return {"metadata": {"name": name, "namespace": namespace}, "status": found}


def status(state: str, *, generation: int = 2, **fields: Any) -> dict[str, Any]:
    return {"state": state, "observedGeneration": generation, **fields}


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wait, "POLL_S", 0)


async def waited(*statuses: Any, timeout_s: float = 5) -> list[str]:
    said: list[str] = []
    api = cast("Kube", Api(*statuses))
    await wait_available(api, "yolo", namespace="ns", generation=2, timeout_s=timeout_s, progress=said.append)
    return said


async def test_each_change_is_a_line() -> None:
    starting = status("Creating", predictors=[{"name": "stable", "ready": True}, {"name": "canary", "ready": False}])
    pulling = {"name": "canary", "ready": False, "reason": "ErrImagePull", "lastError": "yolo-detector: not built"}
    assert await waited(
        {},
        status("Available", generation=1),
        starting,
        starting,
        status("Creating", predictors=[pulling]),
        Unavailable("the API is away"),
        status("Available"),
    ) == [
        "yolo: accepted",
        "yolo: Creating: canary is starting",
        "yolo: Creating: canary ErrImagePull yolo-detector: not built",
        "yolo: the API is away",
        "yolo: Available",
    ]


async def test_later_generation_counts_too() -> None:
    assert await waited(status("Available", generation=3)) == ["yolo: Available"]


async def test_failure_is_told_with_the_controllers_sentence() -> None:
    with pytest.raises(MlflowException, match="yolo cannot be deployed: models:/a@b: no such alias") as failed:
        await waited(status("Creating"), status("Failed", description="models:/a@b: no such alias"))
    assert failed.value.error_code == "INVALID_STATE"


async def test_time_that_is_over_is_told_with_the_last_reason() -> None:
    reason = {"name": "stable", "ready": False, "reason": "ErrImagePull"}
    with pytest.raises(
        MlflowException, match="stable ErrImagePull: not Available after 0.05 s.*kubectl describe"
    ) as late:
        await waited(status("Creating", predictors=[reason]), timeout_s=0.05)
    assert late.value.error_code == "DEADLINE_EXCEEDED"


async def test_object_that_goes_meanwhile_is_an_error_at_once() -> None:
    with pytest.raises(NotFound):
        await waited(status("Creating"), NotFound({"code": 404, "message": "gone"}))
