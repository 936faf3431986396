"""Job → Pods until enough of them succeeded, or too many failed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from slipway.kube.kinds import JOB, POD
from slipway.onebox.runner.moments import Moment
from slipway.onebox.runner.retries import restarts_of, retry_after
from slipway.onebox.runner.workload_steps import (
    MAX_BURST,
    Change,
    Create,
    Delete,
    Notice,
    Object,
    Step,
    differs,
    is_active,
    is_going,
    owned_by,
    pods_from,
    prune_zero,
)

DEFAULT_BACKOFF_LIMIT = 6
FAILURES = {
    "BackoffLimitExceeded": "Job has reached the specified backoff limit",
    "DeadlineExceeded": "Job was active longer than specified deadline",
}
COMPLETED = Notice("Completed", "Job completed")
"""Words of conditions and events as Kubernetes' controller has them:
https://github.com/kubernetes/kubernetes/blob/v1.32.0/pkg/controller/job/job_controller.go"""


def plan_job(job: Object, pods: Sequence[Object], now: Moment) -> list[Step]:
    """``pods`` are all of the namespace."""
    if is_going(job):
        return []
    mine = owned_by(job, pods)
    active = [pod for pod in mine if is_active(pod)]
    finished_at = _finished_at(job, now)
    if finished_at is not None:
        return [*_stop(active, "the Job has ended"), *_expire(job, finished_at, now)]
    failures = [pod for pod in mine if _phase(pod) == "Failed"]
    succeeded = sum(_phase(pod) == "Succeeded" for pod in mine)
    failure = _failure(job, len(failures), active, now)
    wanted = 0 if failure or job["spec"].get("suspend") else _wanted(job, succeeded)
    is_done = not failure and succeeded >= _completions(job) and not (wanted and active)
    steps = _stop(active[wanted:], failure or "no longer wanted")
    if len(active) < wanted and not is_done and now.wall >= retry_after(failures, now):
        steps += _make(job, pods, wanted - len(active), now)
    status = _status(job, active=min(len(active), wanted), succeeded=succeeded, failed=len(failures), now=now)
    notice = None
    if failure or is_done:
        status |= _end(failure, now)
        notice = Notice(failure, FAILURES[failure], is_warning=True) if failure else COMPLETED
    if differs(job.get("status"), status):
        steps.append(Change(JOB, job, {"status": status}, failure or "counts changed", "status", notice=notice))
    return steps


def retry_at(job: Object, pods: Sequence[Object], now: Moment) -> float | None:
    """When a plan may change without any event: the next try, the deadline, the end of the time to live."""
    spec, finished_at = job["spec"], _finished_at(job, now)
    if finished_at is not None:
        ttl = spec.get("ttlSecondsAfterFinished")
        return None if ttl is None else finished_at + float(ttl)
    times = [retry_after([pod for pod in owned_by(job, pods) if _phase(pod) == "Failed"], now)]
    if spec.get("activeDeadlineSeconds") is not None and (started := (job.get("status") or {}).get("startTime")):
        times.append(now.since(job, started) + float(spec["activeDeadlineSeconds"]))
    return min((time for time in times if time), default=None)


def _stop(pods: Sequence[Object], reason: str) -> list[Step]:
    return [Delete(POD, pod, reason) for pod in pods[:MAX_BURST]]


def _make(job: Object, pods: Sequence[Object], count: int, now: Moment) -> list[Step]:
    name, uid = job["metadata"]["name"], job["metadata"]["uid"]
    labels = {
        "batch.kubernetes.io/job-name": name,
        "batch.kubernetes.io/controller-uid": uid,
        "job-name": name,
        "controller-uid": uid,
    }
    made = pods_from(job["spec"]["template"], job, count, taken=pods, now=now.wall, labels=labels)
    return [Create(pod, "the Job needs a Pod") for pod in made]


def _completions(job: Object) -> int:
    """Without ``completions`` any success ends the Job."""
    value = job["spec"].get("completions")
    return 1 if value is None else int(value)


def _wanted(job: Object, succeeded: int) -> int:
    parallelism = int(job["spec"].get("parallelism", 1))
    if job["spec"].get("completions") is None:
        return 0 if succeeded else parallelism
    return max(0, min(parallelism, _completions(job) - succeeded))


def _failure(job: Object, failed: int, active: Sequence[Object], now: Moment) -> str:
    spec, started = job["spec"], (job.get("status") or {}).get("startTime")
    limit = int(spec.get("backoffLimit", DEFAULT_BACKOFF_LIMIT))
    if failed > limit or _is_past_limit_by_restarts(spec, active, limit):
        return "BackoffLimitExceeded"
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and started and now.age_s(job, started) >= float(deadline):
        return "DeadlineExceeded"
    return ""


def _is_past_limit_by_restarts(spec: Object, active: Sequence[Object], limit: int) -> bool:
    """Under OnFailure no Pod fails: its restarts count, as Kubernetes counts them (with a limit of 0 the first is over it)."""
    if spec["template"]["spec"].get("restartPolicy") != "OnFailure":
        return False
    return sum(map(restarts_of, active)) >= max(limit, 1)


def _status(job: Object, *, active: int, succeeded: int, failed: int, now: Moment) -> dict[str, Any]:
    old = job.get("status") or {}
    return prune_zero({"active": active, "succeeded": succeeded, "failed": failed}) | {
        "startTime": old.get("startTime") or now.text
    }


def _end(failure: str, now: Moment) -> dict[str, Any]:
    stamp = now.text
    condition: dict[str, Any] = {"status": "True", "lastProbeTime": stamp, "lastTransitionTime": stamp}
    if failure:
        why = {"reason": failure, "message": FAILURES[failure]}
        return {"active": None, "conditions": [{**condition, "type": "Failed", **why}]}
    return {"completionTime": stamp, "conditions": [{**condition, "type": "Complete"}]}


def _finished_at(job: Object, now: Moment) -> float | None:
    for condition in (job.get("status") or {}).get("conditions") or ():
        if condition["type"] in ("Complete", "Failed") and condition["status"] == "True":
            return now.since(job, condition["lastTransitionTime"])
    return None


def _expire(job: Object, finished_at: float, now: Moment) -> list[Step]:
    ttl = job["spec"].get("ttlSecondsAfterFinished")
    if ttl is None or now.wall < finished_at + float(ttl):
        return []
    return [Delete(JOB, job, f"finished more than {ttl} s ago")]


def _phase(pod: Object) -> str:
    return str((pod.get("status") or {}).get("phase") or "Pending")
