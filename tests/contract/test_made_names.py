"""Names and labels that no object could have, and two objects of one name, are refused where they are written."""

from __future__ import annotations

import pytest

from slipway.contract.admission import review
from tests.contract.manifests import Manifest, component, node, predictor, sdep


def labelled(**labels: str) -> Manifest:
    return sdep(predictor(componentSpecs=[component("clf", metadata={"labels": labels})]))


def two(first: Manifest, second: Manifest) -> Manifest:
    return sdep({**first, "traffic": 50}, {**second, "traffic": 50})


PART = "spec.predictors[0].componentSpecs[0].metadata"
REFUSED: dict[str, tuple[Manifest, str, str]] = {
    "a value with a blank": (sdep(predictor(labels={"a": "b c"})), "spec.predictors[0].labels[a]", "'b c'"),
    "a value of 64": (sdep(predictor(labels={"a": "b" * 64})), "spec.predictors[0].labels[a]", "63"),
    "a key with a blank": (labelled(**{"a b": "c"}), f"{PART}.labels[a b]", "prefix"),
    "a key with an empty prefix": (labelled(**{"/a": "c"}), f"{PART}.labels[/a]", "prefix"),
    "a key's prefix of capitals": (labelled(**{"Team.org/a": "c"}), f"{PART}.labels[Team.org/a]", "prefix"),
    "another version": (labelled(version="v2"), f"{PART}.labels[version]", "'main'"),
    "another value than the predictor's": (
        sdep(predictor(labels={"team": "a"}, componentSpecs=[component("clf", metadata={"labels": {"team": "b"}})])),
        f"{PART}.labels[team]",
        "'a'",
    ),
    "a part's name": (
        sdep(predictor(componentSpecs=[component("clf", metadata={"name": "X_Y"})])),
        f"{PART}.name",
        "'X_Y'",
    ),
    "a Service by annotation and one by name": (
        two(predictor("a", annotations={"seldon.io/svc-name": "iris-b"}), predictor("b")),
        "spec.predictors[1]",
        "Service iris-b would be that of predictor 'b' and of predictor 'a'",
    ),
    "two containers' Services": (
        two(predictor("a", graph=node("b-c")), predictor("a-b", graph=node("c"))),
        "spec.predictors[1]",
        "Service iris-a-b-c",
    ),
    "two Deployments": (
        two(
            predictor("a", componentSpecs=[component("clf", metadata={"name": "0-x"})]),
            predictor("a-0", componentSpecs=[component("clf", metadata={"name": "x"})]),
        ),
        "spec.predictors[1]",
        "Deployment iris-a-0-0-x",
    ),
    "a Service and a container's of one predictor": (
        sdep(predictor(annotations={"seldon.io/svc-name": "iris-main-clf"})),
        "spec.predictors[0]",
        "Service iris-main-clf",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_name_or_label_that_cannot_be_is_one_cause_at_its_field(case):
    manifest, field, words = REFUSED[case]
    (cause,) = review(manifest)
    assert cause.field == field
    assert words in cause.message


@pytest.mark.parametrize(
    "manifest",
    [
        sdep(predictor(labels={"a": "", "example.org/Team_1": "b.C-d_e", "b": "x" * 63})),
        labelled(version="main", **{"app.kubernetes.io/part-of": "x"}),
        sdep(predictor(componentSpecs=[component("clf", metadata={"name": "heavy.1"})])),
        two(predictor("a"), predictor("a-b")),
    ],
)
def test_names_and_labels_that_can_be_are_taken(manifest):
    assert review(manifest) == []
