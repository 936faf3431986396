"""The Job of one machine and those of a cluster run the same script, and keep to what Pods of a cluster keep to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.data import REPOSITORY
from tests.manifests import rules
from tests.manifests.kustomizations import built

CLUSTER = ("kubernetes/training/cpu", "kubernetes/training/gpu")


def job(folder: str) -> dict[str, Any]:
    (found,) = built(REPOSITORY / folder)
    return found


def container(folder: str) -> dict[str, Any]:
    found: dict[str, Any] = job(folder)["spec"]["template"]["spec"]["containers"][0]
    return found


@pytest.mark.parametrize("folder", CLUSTER)
def test_same_script_with_the_same_checkpoint_secret_and_patience(folder: str) -> None:
    here, there = job("training"), job(folder)
    for key in ("image", "command", "args", "envFrom"):
        assert container(folder)[key] == container("training")[key], key
    assert [item for item in container(folder)["env"] if item["name"] != "HOME"] == container("training")["env"]
    assert {**there["spec"], "template": None} == {**here["spec"], "template": None}
    for key in ("restartPolicy", "terminationGracePeriodSeconds"):
        assert there["spec"]["template"]["spec"][key] == here["spec"]["template"]["spec"][key]


@pytest.mark.parametrize("folder", CLUSTER)
def test_cluster_s_job_is_nobody_special_and_has_no_namespace(folder: str) -> None:
    assert list(rules.pods(job(folder))) == []
    assert "namespace" not in job(folder)["metadata"]
    assert job(folder)["spec"]["template"]["metadata"]["labels"] == {"sidecar.istio.io/inject": "false"}


def test_gpu_is_asked_for_in_one_place_only() -> None:
    """A limit of an extended resource is its request; the taint that clouds put on such nodes is tolerated."""
    assert container("kubernetes/training/gpu")["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert "nvidia" not in yaml.safe_dump(job("kubernetes/training/cpu"))
    (toleration,) = job("kubernetes/training/gpu")["spec"]["template"]["spec"]["tolerations"]
    assert toleration == {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}


def test_page_names_the_folders() -> None:
    page = (REPOSITORY / "docs" / "training.md").read_text()
    for folder in CLUSTER:
        assert f"apply -k {folder}" in page
        assert Path(REPOSITORY, folder, "kustomization.yaml").is_file()
