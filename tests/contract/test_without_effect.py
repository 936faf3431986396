"""Fields without effect are named, and nothing else is."""

from __future__ import annotations

import pytest

from slipway.contract.admission import review
from slipway.contract.without_effect import without_effect
from tests.contract.manifests import Manifest, predictor, sdep

LABELLED = sdep(metadata={"labels": {"seldon.io/controller-id": "two"}})
NAMED = sdep()
NAMED["spec"]["name"] = "iris"


@pytest.mark.parametrize(
    ("manifest", "path"),
    [
        (NAMED, "spec.name"),
        (sdep(oauth_key="k"), "spec.oauth_key"),
        (sdep(oauth_secret="s"), "spec.oauth_secret"),
        (sdep(predictor(engineResources={"requests": {}})), "spec.predictors[0].engineResources"),
        (sdep(predictor(replicas=1), replicas=3), "spec.replicas"),
        (sdep(annotations={"seldon.io/rest-timeouts": "5"}), "spec.annotations[seldon.io/rest-timeouts]"),
        (
            sdep(predictor(annotations={"seldon.io/engine-log-level": "x"})),
            "spec.predictors[0].annotations[seldon.io/engine-log-level]",
        ),
        (LABELLED, "metadata.labels[seldon.io/controller-id]"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_field_without_effect_is_taken_and_named(manifest: Manifest, path: str) -> None:
    assert review(manifest) == []
    (told,) = without_effect(manifest)
    assert told.startswith(f"{path} has no effect: ")


def test_what_has_an_effect_is_not_named() -> None:
    assert without_effect(sdep()) == []
    assert without_effect(sdep(predictor(engineResources={}), oauth_key="", metadata={"labels": {"team": "a"}})) == []
    assert without_effect(sdep(predictor(), replicas=3)) == without_effect(sdep(predictor(replicas=2))) == []
    assert without_effect({**NAMED, "kind": "Deployment"}) == without_effect({**NAMED, "apiVersion": "other/v1"}) == []


@pytest.mark.parametrize(
    "spec", [["a"], "a", {"predictors": 5}, {"predictors": ["a"]}, {"predictors": {"a": 1}}], ids=str
)
def test_what_cannot_be_read_has_no_such_fields(spec: object) -> None:
    """A cluster without our admission has any shape; the status says what is wrong with it."""
    assert without_effect({**sdep(), "spec": spec}) == []


def test_label_of_a_controller_has_its_effect_on_a_cluster() -> None:
    assert without_effect(LABELLED, is_one_machine=False) == []


def test_annotation_of_seldon_that_nothing_reads_is_told_with_the_one_that_was_meant() -> None:
    (told,) = without_effect(sdep(annotations={"seldon.io/rest-timeouts": "5", "seldon.io/engine-log-level": "DEBUG"}))
    assert told.endswith("nothing reads it; seldon.io/rest-timeout is read")
    (told,) = without_effect(sdep(annotations={"seldon.io/ambassador-config": "x", "team": "a"}))
    assert told.endswith("nothing reads it")
