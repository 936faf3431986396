"""Jobs that a reader makes: each runs, whatever ran before, and a failure is seen as one and at once."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from tests.data import REPOSITORY
from tests.docs.commands import Command, commands, option
from tests.manifests.kustomizations import built
from tests.onebox_api.conftest import running_api

PAGES = ["docs/kubernetes.md", "mlflow/README.md"]
ENDED = "jsonpath={.status.conditions[0].status}=True"
"""A Job's first condition says how it will end: FailureTarget or Failed, SuccessCriteriaMet or Complete.

https://kubernetes.io/docs/concepts/workloads/controllers/job/#terminal-job-conditions
"""
SOON_S = 60
JOB = """
apiVersion: batch/v1
kind: Job
metadata: {name: work}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: "x:1"}]}}}
"""


def of(page: str) -> list[Command]:
    return [command for command in commands((REPOSITORY / page).read_text()) if command.program == "kubectl"]


def place(found: list[Command], *words: str) -> int:
    (index,) = [index for index, command in enumerate(found) if set(words) <= set(command.words)]
    return index


@pytest.mark.parametrize("page", PAGES)
def test_job_is_made_after_the_last_one_of_its_name_has_gone_with_its_pods(page: str) -> None:
    found = of(page)
    made = [index for index, command in enumerate(found) if {"create", "job"} <= set(command.words)]
    assert len(made) >= 2
    for index in made:
        name = next(word for word in found[index].words if word.startswith("mlflow-"))
        if "--dry-run=client" in found[index].words:
            assert any({"delete", "job", name} <= set(command.words) for command in found)
            continue
        before = found[index - 1].words
        assert {"delete", "job", name, "--ignore-not-found", "--cascade=foreground"} <= set(before), found[index]


@pytest.mark.parametrize("page", PAGES)
def test_nobody_waits_for_a_job_that_has_failed(page: str) -> None:
    found = of(page)
    waits = [command for command in found if any(word.startswith("job/") for word in command.words)]
    waits = [command for command in waits if "wait" in command.words]
    assert len(waits) >= 6
    for first, second in zip(waits[::2], waits[1::2], strict=True):
        assert option(first.words, "--for") == ENDED, first
        assert option(second.words, "--for") == "condition=complete", second
        assert option(second.words, "--timeout") == f"{SOON_S}s"
        assert [word for word in first.words if "job/" in word] == [word for word in second.words if "job/" in word]


@pytest.mark.parametrize("page", PAGES)
def test_restore_begins_when_the_servers_pods_are_gone(page: str) -> None:
    found = of(page)
    scaled = place(found, "scale", "--replicas=0")
    wait = found[scaled + 1].words
    assert {"wait", "--for=delete", "pod"} <= set(wait)
    (server,) = [item for item in built(REPOSITORY / "mlflow" / "overlays" / "cnpg") if item["kind"] == "Deployment"]
    wanted = dict(pair.split("=") for pair in option(wait, "-l").split(","))
    assert wanted == server["spec"]["selector"]["matchLabels"]
    restores = [index for index, command in enumerate(found) if "--from=cronjob/mlflow-restore" in command.words]
    assert restores
    assert scaled < restores[0]


@pytest.mark.parametrize(
    ("types", "is_success"),
    [(["SuccessCriteriaMet", "Complete"], True), (["FailureTarget", "Failed"], False), (["Failed"], False)],
)
def test_wait_ends_with_the_job_and_the_next_one_says_how(tmp_path: Path, types: list[str], is_success: bool) -> None:
    stamp = "2026-11-22T00:00:00Z"
    conditions = [
        {"type": name, "status": "True", "lastProbeTime": stamp, "lastTransitionTime": stamp} for name in types
    ]
    status = json.dumps({"status": {"conditions": conditions}})
    with running_api(tmp_path / "home") as api:
        api.kubectl("create", "-f", "-", stdin=JOB)
        patch = ("patch", "job", "work", "--subresource=status", "--type=merge", "-p", status)
        later = threading.Thread(target=api.kubectl, args=patch)
        later.start()
        api.kubectl("wait", f"--for={ENDED}", "job/work", "--timeout=20s")
        later.join()
        said = api.kubectl("wait", "--for=condition=complete", "job/work", "--timeout=1s", check=False)
        assert ("condition met" in said) is is_success
        assert ("timed out" in said) is not is_success
