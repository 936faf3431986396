"""Jobs: Pods until enough have succeeded, or too many have failed."""

from __future__ import annotations

from slipway.onebox.runner.jobs import retry_at
from slipway.onebox.runner.moments import Moment
from slipway.onebox.runner.workload_steps import Notice
from tests.onebox_runner.objects import NOW
from tests.onebox_runner.workload_world import World, end, job_object


def test_a_job_runs_a_pod_and_completes() -> None:
    world = World(job_object())
    world.settle(NOW)
    (pod,) = world.all("Pod")
    assert pod["metadata"]["labels"]["job-name"] == "j"
    end(pod, "Succeeded", NOW + 5)
    world.settle(NOW + 5)
    status = world.one("Job", "j")["status"]
    assert status["succeeded"] == 1
    assert status["conditions"][0]["type"] == "Complete"
    assert world.notices == [Notice("Completed", "Job completed")]
    assert len(world.all("Pod")) == 1


def test_a_failed_job_pod_is_replaced_after_a_pause_until_the_limit() -> None:
    world = World(job_object(backoffLimit=1))
    world.settle(NOW)
    end(world.all("Pod")[0], "Failed", NOW)
    world.settle(NOW + 5)
    assert len(world.all("Pod")) == 1
    assert retry_at(world.one("Job", "j"), world.all("Pod"), Moment(NOW + 5)) == NOW + 10
    world.settle(NOW + 10)
    assert len(world.all("Pod")) == 2
    for pod in world.all("Pod"):
        end(pod, "Failed", NOW + 10)
    world.settle(NOW + 1000)
    assert world.one("Job", "j")["status"]["conditions"][0]["reason"] == "BackoffLimitExceeded"
    told = Notice("BackoffLimitExceeded", "Job has reached the specified backoff limit", is_warning=True)
    assert world.notices == [told]
    assert len(world.all("Pod")) == 2


def test_a_job_over_its_deadline_fails_and_its_pods_go() -> None:
    world = World(job_object(activeDeadlineSeconds=30))
    world.settle(NOW)
    world.settle(NOW + 30)
    assert world.one("Job", "j")["status"]["conditions"][0]["reason"] == "DeadlineExceeded"
    told = Notice("DeadlineExceeded", "Job was active longer than specified deadline", is_warning=True)
    assert world.notices == [told]
    assert world.all("Pod") == []


def test_completions_and_parallelism_limit_a_job() -> None:
    world = World(job_object(completions=3, parallelism=2))
    seen = 0
    for _ in range(3):
        world.settle(NOW)
        running = [pod for pod in world.all("Pod") if "status" not in pod]
        seen = max(seen, len(running))
        if running:
            end(running[0], "Succeeded", NOW)
    world.settle(NOW)
    assert seen == 2
    assert world.one("Job", "j")["status"]["succeeded"] == 3


def test_a_finished_job_goes_after_its_time_to_live() -> None:
    world = World(job_object(ttlSecondsAfterFinished=60))
    world.settle(NOW)
    end(world.all("Pod")[0], "Succeeded", NOW)
    world.settle(NOW)
    assert world.plan(NOW + 59) == []
    assert [step.obj["metadata"]["name"] for step in world.plan(NOW + 61)] == ["j"]
