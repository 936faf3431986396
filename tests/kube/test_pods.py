from __future__ import annotations

from typing import Any

import pytest

from slipway.kube.pods import Trouble, trouble_of

CRASHED = {"name": "model", "state": {"terminated": {"exitCode": 1, "message": "no weights"}}}
IN_LOOP = {
    "name": "model",
    "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
    "lastState": {"terminated": {"exitCode": 1, "message": "no weights"}},
}
NO_IMAGE = {"name": "model", "state": {"waiting": {"reason": "ErrImagePull", "message": "never built"}}}
STARTING = {"name": "model", "state": {"waiting": {"reason": "ContainerCreating"}}}


def _pod(*containers: dict[str, Any], **status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p"}, "status": {"containerStatuses": list(containers), **status}}


@pytest.mark.parametrize(
    ("pods", "expected"),
    [
        ([], None),
        ([_pod(STARTING)], None),
        ([_pod(CRASHED)], Trouble("Error", "model: no weights")),
        ([_pod(STARTING), _pod(IN_LOOP)], Trouble("CrashLoopBackOff", "model: no weights", waits=True)),
        ([_pod(NO_IMAGE)], Trouble("ErrImagePull", "model: never built", waits=True)),
        (
            [_pod(conditions=[{"type": "PodScheduled", "status": "False", "message": "no room"}])],
            Trouble("Unschedulable", "no room"),
        ),
    ],
)
def test_trouble_of_pods_is_what_the_first_container_says(pods: list[dict[str, Any]], expected: Trouble | None) -> None:
    assert trouble_of(pods) == expected
