"""Upgrades and the way back, by kubectl against the API of one machine: what conflicts with whom, and what does not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import pytest
import yaml

from tests.data import REPOSITORY
from tests.docs.commands import Command, commands, option
from tests.manifests.kustomizations import Object, built
from tests.onebox_api.conftest import ApiProcess, running_api

COMMANDS = commands((REPOSITORY / "docs" / "kubernetes.md").read_text())
KINDS = {"CustomResourceDefinition", "Deployment", "Namespace"}
"""What is enough to see; the API of one machine does not have all kinds."""
DEFINITION = "seldondeployments.machinelearning.seldon.io"
LIMIT_S = 50


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ApiProcess]:
    with running_api(tmp_path / "home") as process:
        process.kubectl("delete", "crd", DEFINITION)
        yield process


def release(number: str) -> str:
    """Of `kubernetes`, with an image and a number of the definition that say which release it is."""
    objects = deepcopy([item for item in built(REPOSITORY / "kubernetes") if item["kind"] in KINDS])
    for item in objects:
        if item["kind"] == "CustomResourceDefinition":
            item["metadata"]["annotations"]["slipway.dev/crd-number"] = number
        if item["kind"] == "Deployment":
            item["spec"]["template"]["spec"]["containers"][0]["image"] = f"slipway/controller:{number}"
    text: str = yaml.safe_dump_all(objects)
    return text


def ours() -> str:
    (found,) = [item for item in built(REPOSITORY / "kubernetes") if item["kind"] == "CustomResourceDefinition"]
    return str(found["metadata"]["annotations"]["slipway.dev/crd-number"])


def install(api: ApiProcess) -> None:
    subprocess.run(
        [sys.executable, "-m", "slipway.cli.main", "crd", "install"],
        check=True,
        capture_output=True,
        env={"KUBECONFIG": str(api.paths.kubeconfig), "HOME": str(api.paths.home)},
        timeout=LIMIT_S,
    )


def number(api: ApiProcess) -> str:
    path = r"jsonpath={.metadata.annotations.slipway\.dev/crd-number}"
    return api.kubectl("get", "crd", DEFINITION, "-o", path)


def image(api: ApiProcess) -> str:
    path = "jsonpath={.spec.template.spec.containers[0].image}"
    return api.kubectl("-n", "slipway-system", "get", "deployment", "slipway-controller", "-o", path)


def back() -> Command:
    """The page's command that leaves the definition out."""
    (found,) = [item for item in COMMANDS if item.words[:2] == ("kubectl", "apply") and "-l" in item.words]
    return found


def applied(api: ApiProcess, text: str, *words: str) -> str:
    return api.kubectl("apply", "--server-side", *words, "-f", "-", stdin=text, check=False)


def test_older_release_conflicts_in_the_definition_alone_and_the_page_leaves_that_out(api: ApiProcess) -> None:
    install(api)
    applied(api, release(ours()))
    assert image(api).endswith(f":{ours()}")

    said = applied(api, release("1"))
    assert 'conflict with "slipway-crd"' in said
    assert said.count("Apply failed") == 1
    assert (number(api), image(api)) == (ours(), "slipway/controller:1")

    applied(api, release(ours()))
    said = applied(api, release("1"), "-l", option(back().words, "-l"))
    assert "conflict" not in said
    assert (number(api), image(api)) == (ours(), "slipway/controller:1")
    assert "conflict" not in applied(api, release(ours()))
    assert image(api).endswith(f":{ours()}")


def test_only_plain_apply_takes_the_definition_back(api: ApiProcess) -> None:
    install(api)
    api.kubectl("apply", "-l", "app.kubernetes.io/managed-by=slipway", "-f", "-", stdin=release("1"), check=False)
    assert number(api) == "1"


def test_edit_by_hand_is_a_conflict_until_it_is_taken_over(api: ApiProcess) -> None:
    applied(api, release(ours()))
    api.kubectl("-n", "slipway-system", "set", "image", "deployment/slipway-controller", "controller=slipway/x:1")
    assert 'conflict with "kubectl-set"' in applied(api, release(ours()))
    assert image(api) == "slipway/x:1"
    assert "conflict" not in applied(api, release(ours()), "--force-conflicts")
    assert image(api).endswith(f":{ours()}")


def test_everything_but_the_definition_bears_the_label() -> None:
    name, _, value = option(back().words, "-l").partition("=")
    objects: list[Object] = list(built(REPOSITORY / "kubernetes"))
    without = [item["kind"] for item in objects if item["metadata"].get("labels", {}).get(name) != value]
    assert without == ["CustomResourceDefinition"]
