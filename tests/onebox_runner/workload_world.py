"""What plans make of objects: a model of the API and of Pods, without processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from slipway.onebox.runner.deployments import plan_deployment
from slipway.onebox.runner.jobs import plan_job
from slipway.onebox.runner.moments import Moment, time_text
from slipway.onebox.runner.replica_sets import plan_replica_set
from slipway.onebox.runner.workload_steps import Change, Create, Delete, Notice, Step
from tests.onebox_runner.objects import NOW


class World:
    """Applies steps to plain dicts, as an API without a network would. ``moment``: what plans are told of a time."""

    def __init__(self, *objects: dict[str, Any], moment: Callable[[float], Moment] = Moment) -> None:
        self._moment = moment
        self.objects = {(obj["kind"], obj["metadata"]["name"]): obj for obj in objects}
        self.notices: list[Notice] = []

    def all(self, kind: str) -> list[dict[str, Any]]:
        return [obj for (of, _), obj in sorted(self.objects.items()) if of == kind]

    def one(self, kind: str, name: str) -> dict[str, Any]:
        return self.objects[(kind, name)]

    def plan(self, now: float) -> list[Step]:
        at = self._moment(now)
        sets, pods = self.all("ReplicaSet"), self.all("Pod")
        steps = [step for item in self.all("Deployment") for step in plan_deployment(item, sets, pods, at)]
        steps += [step for item in sets for step in plan_replica_set(item, pods, at)]
        return steps + [step for item in self.all("Job") for step in plan_job(item, pods, at)]

    def apply(self, steps: list[Step]) -> None:
        self.notices += [step.notice for step in steps if isinstance(step, Change) and step.notice]
        for step in steps:
            if isinstance(step, Create):
                name = step.obj["metadata"]["name"]
                assert (step.obj["kind"], name) not in self.objects
                meta = {
                    **step.obj["metadata"],
                    "uid": f"uid-{name}",
                    "generation": 1,
                    "creationTimestamp": time_text(NOW),
                }
                self.objects[(step.obj["kind"], name)] = {**step.obj, "metadata": meta}
            elif isinstance(step, Delete):
                del self.objects[(step.obj["kind"], step.obj["metadata"]["name"])]
            else:
                self._merge(step)

    def _merge(self, step: Change) -> None:
        key = (step.obj["kind"], step.obj["metadata"]["name"])
        self.objects[key] = merged(self.objects[key], step.patch)

    def settle(self, now: float) -> None:
        for _ in range(100):
            steps = self.plan(now)
            if not steps:
                return
            self.apply(steps)
        raise AssertionError(f"no end: {self.plan(now)}")

    def make_ready(self, pod: dict[str, Any], now: float, *, ready: bool = True) -> None:
        condition = {"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": time_text(now)}
        pod["status"] = {"phase": "Running", "conditions": [condition]}


def merged(old: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    result = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def roll_to(world: World, image: str) -> None:
    deployment = world.one("Deployment", "d")
    template = {**deployment["spec"]["template"], "spec": {"containers": [{"name": "main", "image": image}]}}
    meta = {**deployment["metadata"], "generation": deployment["metadata"]["generation"] + 1}
    world.objects[("Deployment", "d")] = {
        **deployment,
        "metadata": meta,
        "spec": {**deployment["spec"], "template": template},
    }


def job_object(**spec: Any) -> dict[str, Any]:
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "a:1"}]}}
    meta = {"name": "j", "namespace": "default", "uid": "uid-j"}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": {"template": template, **spec}}


def end(pod: dict[str, Any], phase: str, at: float) -> None:
    state = {"terminated": {"exitCode": 0 if phase == "Succeeded" else 1, "finishedAt": time_text(at)}}
    pod["status"] = {"phase": phase, "containerStatuses": [{"name": "main", "state": state}]}
