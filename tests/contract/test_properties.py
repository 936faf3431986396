"""Parsing, defaulting and validation of anything that may come."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.contract.admission import review
from slipway.contract.defaulting import default
from slipway.contract.fields import FieldError
from slipway.contract.graph import METHODS, NODE_TYPES
from slipway.contract.sdep import PredictorSpec, SeldonDeployment
from tests.contract.manifests import component, node, predictor, sdep

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(["name", "graph", "traffic", "labels", "componentSpecs", "svcOrchSpec", "ssl", "annotations"])
NAMES = st.sampled_from(["a", "b", "c", "d"])
NODES: st.SearchStrategy[dict[str, Any]] = st.recursive(
    st.builds(node, NAMES, type=st.sampled_from(NODE_TYPES), methods=st.lists(st.sampled_from(METHODS), max_size=2)),
    lambda inner: st.builds(node, NAMES, children=st.lists(inner, max_size=3)),
    max_leaves=5,
)
PREDICTORS = st.builds(
    predictor,
    NAMES,
    NODES,
    componentSpecs=st.lists(st.lists(NAMES, max_size=2, unique=True).map(lambda names: component(*names)), max_size=3),
    traffic=st.integers(-10, 110),
    shadow=st.booleans(),
)


@settings(deadline=None, max_examples=150)
@given(st.dictionaries(KEYS, JSON), JSON)
def test_review_answers_with_causes_for_anything(fields, spec):
    for manifest in (sdep(fields), {**sdep(), "spec": spec}):
        assert all(cause.message for cause in review(manifest))


@settings(deadline=None, max_examples=150)
@given(JSON)
def test_reading_a_predictor_gives_it_or_a_field_error(value):
    try:
        PredictorSpec.from_json(value)
    except FieldError as error:
        assert str(error).startswith(error.path)


@settings(deadline=None, max_examples=100)
@given(st.lists(PREDICTORS, min_size=1, max_size=3))
def test_defaulting_twice_changes_nothing_and_json_keeps_all(predictors):
    once = default(SeldonDeployment.from_json(sdep(*predictors)))
    assert default(once) == once
    for item in once.predictors:
        assert PredictorSpec.from_json(item.to_json()) == item


@settings(deadline=None, max_examples=100)
@given(st.lists(PREDICTORS, min_size=1, max_size=3))
def test_accepted_live_traffic_sums_to_100(predictors):
    manifest = sdep(*predictors)
    if review(manifest):
        return
    live = [item for item in SeldonDeployment.from_json(manifest).predictors if not item.shadow]
    assert live
    assert len(live) == 1 or sum(item.traffic for item in live) == 100
    assert all(item.traffic >= 0 for item in live)
