"""Whatever was applied, the doctor's repair applies the same again, and nothing that would undo it."""

from __future__ import annotations

from copy import deepcopy

import pytest

from slipway.doctor.checks.installed import QUESTIONS, add_keda, apply_again, installed_with
from slipway.doctor.facts import Facts, Object, Unanswered
from slipway.doctor.question import Question
from tests.data import REPOSITORY
from tests.doctor.cluster import Cluster
from tests.doctor.test_findings import of
from tests.manifests.kustomizations import built

SLIPWAY = "kubectl apply --server-side -k"
FOLDERS = [
    "kubernetes",
    *(f"kubernetes/overlays/{path.name}" for path in sorted((REPOSITORY / "kubernetes" / "overlays").iterdir())),
]


def deployments(folder: str) -> list[Object]:
    return deepcopy([item for item in built(REPOSITORY / folder) if item["kind"] == "Deployment"])


def facts(objects: list[Object]) -> Facts:
    def answer(question: Question) -> tuple[Object, ...]:
        return tuple(obj for obj in objects if obj["metadata"]["name"] == question.name)

    return Facts(answers={question: answer(question) for question in QUESTIONS})


@pytest.mark.parametrize("folder", FOLDERS)
def test_each_overlay_is_known_by_its_deployments(folder: str) -> None:
    assert apply_again(facts(deployments(folder))) == f"{SLIPWAY} {folder}"


@pytest.mark.parametrize("name", ["slipway-controller", "slipway-webhook"])
def test_one_of_the_two_that_is_left_is_enough(name: str) -> None:
    folder = "kubernetes/overlays/beside-seldon-core"
    left = [item for item in deployments(folder) if item["metadata"]["name"] == name]
    assert apply_again(facts(left)) == f"{SLIPWAY} {folder}"


def test_folder_of_ones_own_is_named_by_what_it_adds() -> None:
    both = [*deployments("kubernetes/overlays/keda"), *deployments("kubernetes/overlays/cert-manager")]
    said = apply_again(facts(both))
    assert said.startswith(f"{SLIPWAY} YOURS, the folder that you installed with: ")
    assert said.endswith("--keda, --certificate-folder=/etc/slipway-tls")
    mine = deployments("kubernetes")
    for item in mine:
        (container,) = item["spec"]["template"]["spec"]["containers"]
        container["image"] = f"registry.example:5000/vision/{container['image']}"
    assert installed_with(facts(mine)) == ("images of registry.example:5000/vision",)
    assert "YOURS" in apply_again(facts(mine))


def test_another_id_is_no_overlay_of_ours() -> None:
    other = deployments("kubernetes")
    other[0]["spec"]["template"]["spec"]["containers"][0]["args"] += ["--controller-id=blue"]
    assert apply_again(facts(other)).endswith("YOURS, the folder that you installed with: --controller-id=blue")


def test_keda_is_added_to_what_is_there() -> None:
    assert add_keda(facts(deployments("kubernetes"))) == f"{SLIPWAY} kubernetes/overlays/keda"
    beside = add_keda(facts(deployments("kubernetes/overlays/beside-seldon-core")))
    assert beside.startswith("add the component kubernetes/components/keda to what you installed with, then: ")
    assert (REPOSITORY / "kubernetes" / "components" / "keda" / "kustomization.yaml").is_file()


def test_who_may_not_look_gets_the_folder_without_additions() -> None:
    assert apply_again(Facts(answers={question: Unanswered("no") for question in QUESTIONS})) == f"{SLIPWAY} kubernetes"


@pytest.mark.parametrize(
    ("check", "break_it"),
    [
        ("controller", lambda c: c.get("Deployment", "slipway-controller")["spec"]["template"]["spec"]["containers"][0].update(image="slipway/controller:0.0.9")),
        ("webhook", lambda c: c.drop("ValidatingWebhookConfiguration")),
        ("permissions", lambda c: c.denied.add("patch seldondeployments/status.machinelearning.seldon.io")),
    ],
)  # fmt: skip
def test_no_repair_of_a_cluster_with_keda_takes_keda_away(check: str, break_it: object) -> None:
    cluster = Cluster()
    assert callable(break_it)
    break_it(cluster)
    said = [item.repair for item in of(cluster, check) if "--server-side" in (item.repair or "")]
    assert said
    assert all(f"{SLIPWAY} kubernetes/overlays/keda" in text for text in said)
