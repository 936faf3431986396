"""AdmissionReview in, AdmissionReview out: which are judged, and what is said."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.contract.admission import review
from slipway.controller.settings import Settings
from slipway.webhook.answer import MAX_CAUSES, MAX_TEXT, NoReview, answer
from tests.contract.manifests import component, node, predictor, sdep
from tests.contract.test_learning import router
from tests.contract.test_validation import OWN, RULES
from tests.webhook.reviews import UID, review_of

SETTINGS = Settings()
BAD = sdep(predictor(traffic=20))


def response(body, settings=SETTINGS):
    said = answer(body, settings)
    assert (said["apiVersion"], said["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
    assert said["response"]["uid"] == UID
    return said["response"]


@pytest.mark.parametrize("case", [*RULES, *OWN])
def test_every_rule_is_refused_with_the_causes_of_one_machine(case):
    manifest = (RULES | OWN)[case][0]
    said = response(review_of(manifest))
    expected = review(manifest, predictor_servers=SETTINGS.predictor_servers)
    assert said["allowed"] is False
    assert said["status"]["code"] == 422
    assert said["status"]["reason"] == "Invalid"
    assert [(cause["field"], cause["message"]) for cause in said["status"]["details"]["causes"]] == [
        (cause.field, cause.message) for cause in expected
    ]


def test_pods_that_kubernetes_would_refuse_are_refused_with_their_causes():
    broken = component("clf")
    broken["spec"] |= {"restartPolicy": "Never", "volumes": [{"name": "a"}, {"name": "a"}]}
    causes = response(review_of(sdep(predictor(componentSpecs=[broken]))))["status"]["details"]["causes"]
    place = "spec.predictors[0].componentSpecs[0].spec"
    assert [(cause["field"], cause["reason"]) for cause in causes] == [
        (f"{place}.volumes[1].name", "FieldValueDuplicate"),
        (f"{place}.restartPolicy", "FieldValueNotSupported"),
    ]


def test_message_is_the_one_that_kubectl_shows_for_one_machine():
    said = response(review_of(BAD))["status"]
    assert said["message"] == (
        'SeldonDeployment.machinelearning.seldon.io "iris" is invalid: spec: the only predictor has traffic 20: '
        "leave it out or say 100"
    )
    assert said["details"]["causes"] == [
        {
            "reason": "FieldValueInvalid",
            "message": "the only predictor has traffic 20: leave it out or say 100",
            "field": "spec",
        }
    ]


@pytest.mark.parametrize(
    "body",
    [
        review_of(sdep()),
        review_of(None, operation="DELETE", old=BAD),
        review_of(BAD, operation="CONNECT"),
        review_of(BAD, subResource="status"),
        review_of(BAD, resource={"group": "apps", "version": "v1", "resource": "deployments"}),
        review_of(
            {**BAD, "metadata": BAD["metadata"] | {"deletionTimestamp": "2026-11-22T00:00:00Z"}}, operation="UPDATE"
        ),
        review_of(sdep(predictor(traffic=20), metadata={"labels": {"a": "b"}}), operation="UPDATE", old=BAD),
        review_of(sdep(predictor(traffic=20), metadata={"labels": {"seldon.io/controller-id": "seldon"}})),
    ],
    ids=["good", "delete", "connect", "status", "other kind", "ending", "labels only", "another controller's"],
)
def test_what_is_right_or_no_business_of_ours_is_allowed(body):
    assert response(body) == {"uid": UID, "allowed": True}


def test_an_update_of_the_spec_or_of_annotations_is_judged():
    changed = sdep(predictor(traffic=30))
    assert response(review_of(changed, operation="UPDATE", old=BAD))["allowed"] is False
    annotated = sdep(metadata={"annotations": {"slipway.dev/stickyy": "x"}})
    assert response(review_of(annotated, operation="UPDATE", old=sdep()))["allowed"] is False


def test_a_controller_with_an_id_judges_its_own():
    mine = Settings(controller_id="slipway")
    labelled = sdep(predictor(traffic=20), metadata={"labels": {"seldon.io/controller-id": "slipway"}})
    assert response(review_of(labelled), mine)["allowed"] is False
    assert response(review_of(BAD), mine)["allowed"] is False, "the namespace is labelled: the API server has looked"
    assert response(review_of(labelled))["allowed"] is True


def test_router_whose_replicas_learn_alone_is_taken_and_told():
    said = response(review_of(sdep(predictor(graph=router(), replicas=3))))
    assert (said["allowed"], len(said["warnings"])) == (True, 1)
    assert "learns alone in each of up to 3 replicas" in said["warnings"][0]


def test_what_only_one_machine_carries_out_is_taken_and_told():
    keda = component(
        "clf", kedaSpec={"triggers": [{"type": "cpu", "metricType": "Utilization", "metadata": {"value": "50"}}]}
    )
    manifest = sdep(
        predictor(componentSpecs=[keda]),
        annotations={"slipway.dev/sticky": "header:x-user", "slipway.dev/rate-limit": "10/s"},
        oauth_key="x",
    )
    said = response(review_of(manifest))
    assert said["allowed"] is True
    text = "\n".join(said["warnings"])
    for part in ("slipway.dev/sticky", "slipway.dev/rate-limit", "kedaSpec", "--keda", "spec.oauth_key has no effect"):
        assert part in text
    assert not any("kedaSpec" in line for line in response(review_of(manifest), Settings(has_keda=True))["warnings"])


def test_generated_names_are_judged_as_they_will_be():
    manifest = sdep()
    manifest["metadata"] = {"generateName": "iris-"}
    assert response(review_of(manifest, namespace="team"))["allowed"] is True
    manifest["metadata"] = {"generateName": "i" * 60}
    assert response(review_of(manifest, namespace="team"))["allowed"] is False


@pytest.mark.parametrize(
    "manifest",
    [
        sdep(*[predictor("p") for _ in range(2000)]),
        sdep(predictor(graph=node(children=[node(f"n{i}", children=[node(f"m{i}")]) for i in range(60)]))),
        sdep(predictor(), annotations={f"slipway.dev/{'a' * 40}{i}": "x" for i in range(2000)}),
        sdep(name="a-" * 100_000),
        sdep(metadata={"annotations": {"slipway.dev/rate-limit": "1" * 1_000_000}}),
        sdep(
            predictor(componentSpecs=[component("clf", hpaSpec={"maxReplicas": 2, "metrics": [{"type": "x"}] * 2000})])
        ),
    ],
    ids=["predictors", "nodes", "annotations", "name", "value", "metrics"],
)
def test_an_answer_is_short_whatever_is_wrong(manifest):
    said = response(review_of(manifest))
    assert said["allowed"] is False
    assert len(json.dumps(said)) < 2 * MAX_CAUSES * 2 * MAX_TEXT


def test_more_causes_than_are_told_are_said_to_be_there():
    manifest = sdep(predictor(), annotations={f"slipway.dev/a{i}": "x" for i in range(MAX_CAUSES + 1)})
    causes = response(review_of(manifest))["status"]["details"]["causes"]
    assert len(causes) == MAX_CAUSES + 1
    assert causes[-1]["message"] == f"and more than {MAX_CAUSES} in all"


def test_the_schema_is_asked_too_where_anothers_definition_serves():
    said = response(review_of(sdep(*[predictor(f"p{i}") for i in range(65)])))
    assert said["status"]["details"]["causes"] == [
        {
            "reason": "FieldValueTooMany",
            "message": "Too many: 65: must have at most 64 items",
            "field": "spec.predictors",
        }
    ]


def test_nothing_that_is_asked_is_changed():
    body = review_of(BAD)
    before = copy.deepcopy(body)
    response(body)
    assert body == before


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"apiVersion": "admission.k8s.io/v1beta1"}, "admission.k8s.io/v1"),
        ({"kind": "Pod"}, "AdmissionReview"),
        ({"request": None}, "uid"),
        ({"request": {"uid": 7}}, "uid"),
        ({"request": "x"}, "request is no object"),
        ({"request": {"uid": "u", "object": []}}, "object is no object"),
    ],
)
def test_what_is_no_review_is_refused_with_the_reason(change, word):
    with pytest.raises(NoReview, match=word):
        answer({**review_of(sdep()), **change}, SETTINGS)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=8), below, max_size=3),
    max_leaves=12,
)
places = st.sampled_from(
    [("spec",), ("metadata",), ("spec", "predictors"), ("spec", "predictors", 0), ("spec", "predictors", 0, "graph"),
     ("metadata", "labels"), ("metadata", "annotations"), ("spec", "annotations"), ("spec", "predictors", 0, "componentSpecs")]
)  # fmt: skip


@given(places, values)
def test_an_object_of_any_shape_is_answered_or_is_no_review(place, value):
    manifest = copy.deepcopy(sdep())
    *parents, last = place
    at = manifest
    for part in parents:
        at = at[part] if not isinstance(at, dict) else at.setdefault(part, {})
    at[last] = value
    try:
        said = answer(review_of(manifest, name="x", namespace="y"), SETTINGS)
    except NoReview:
        return
    assert isinstance(said["response"]["allowed"], bool)


@given(values)
def test_a_body_of_any_shape_is_no_review(value):
    with pytest.raises(NoReview):
        answer(value, SETTINGS)
