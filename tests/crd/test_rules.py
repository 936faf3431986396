"""The CEL rules, run for real beside the admission rules that they repeat (contract 1.7), and what they cost."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from lark import Tree

from slipway.contract.admission import review
from slipway.crd.rules import NODE_RULES, PREDICTOR_RULES, SPEC_RULES
from slipway.crd.schema import MAX_PREDICTORS, schema
from tests.contract.manifests import node, predictor, sdep
from tests.contract.test_validation import OWN, RULES
from tests.crd.cel import ENVIRONMENT, violations

BY_MESSAGE = {rule.message: rule.number for rule in (*SPEC_RULES, *PREDICTOR_RULES, *NODE_RULES)}
WEBHOOK_ONLY = {4, 6, 10, 14, 16, 17}
"""What rules.py says CEL cannot reckon."""
ROOT = Path(__file__).parents[2]

PER_RULE, PER_CRD = 10_000_000, 100_000_000
"""StaticEstimatedCostLimit and StaticEstimatedCRDCostLimit (apiextensions-apiserver, apis/apiextensions/validation)."""
LIST_COST = 10
"""ListCreateBaseCost of cel-go (common/cost.go): a list literal, and each element that filter and map append."""
COMPARED = math.ceil(63 * 0.1) + 10
"""StringTraversalCostFactor (0.1) times the longest text compared here, and the longest list that ``in`` reads."""
LOOPS = {"all", "exists", "exists_one", "filter", "map"}


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_of_the_contract_is_refused_by_cel_or_by_the_webhook(rule):
    manifest, number = RULES[rule][0], int(rule.partition(" ")[0])
    found = [BY_MESSAGE[message] for _, message in violations(schema(), manifest)]
    assert found == ([] if number in WEBHOOK_ONLY else [number])
    assert review(manifest, predictor_servers={"SKLEARN_SERVER": "x:1"})


def test_cel_and_the_webhook_only_make_up_all_21_rules():
    assert WEBHOOK_ONLY | set(BY_MESSAGE.values()) == set(range(1, 22))
    assert not WEBHOOK_ONLY & set(BY_MESSAGE.values())


@pytest.mark.parametrize("case", OWN)
def test_what_seldon_core_takes_is_not_refused_by_the_definition(case):
    """Our own rules are the webhook's: a CRD is one for all controllers of a cluster."""
    assert list(violations(schema(), OWN[case][0])) == []


@pytest.mark.parametrize(
    ("number", "manifest"),
    [
        (11, sdep(predictor(graph=node(implementation="SIMPLE_ROUTER", children=[node("b", type="UNKNOWN_TYPE")])))),
        (12, sdep(predictor(graph=node(children=[node("b", implementation="SKLEARN_SERVER")])))),
        (15, sdep(predictor(graph=node(children=[node("b", logger={})])))),
    ],
)
def test_rules_of_nodes_hold_for_the_children_of_the_root(number, manifest):
    found = list(violations(schema(), manifest))
    assert [(path, BY_MESSAGE[message]) for path, message in found] == [
        ("spec.predictors[0].graph.children[0]", number)
    ]


def test_every_manifest_of_the_repository_keeps_the_rules():
    found = [
        (path, obj)
        for path in sorted((ROOT / "seldon").rglob("*.yaml"))
        for obj in yaml.safe_load_all(path.read_text())
        if obj and obj.get("kind") == "SeldonDeployment"
    ]
    assert len(found) >= 3
    assert [(path, list(violations(schema(), obj))) for path, obj in found] == [(path, []) for path, _ in found]


traffics = st.none() | st.integers(-10, 160)
predictors = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from("abc"), "graph": st.just({"name": "m", "implementation": "SIMPLE_MODEL"})},
        optional={"traffic": traffics.filter(lambda value: value is not None), "shadow": st.booleans()},
    ),
    max_size=4,
)


@settings(max_examples=60, deadline=None)
@given(predictors)
def test_traffic_names_and_shadows_are_judged_alike(items):
    """CEL refuses exactly when the webhook's rules do; below 0 is a rule of ours, not the contract's."""
    manifest = {**sdep(), "spec": {"predictors": items}}
    ours = [cause for cause in review(manifest) if "is below 0" not in cause.message]
    assert bool(list(violations(schema(), manifest))) == bool(ours)


def cost(tree) -> int:
    """More than cel-go's estimate can be: each node of the tree counts, loops go over as many predictors as there may be."""
    if not isinstance(tree, Tree):
        return 0
    below = sum(cost(child) for child in tree.children)
    if tree.data == "member_dot_arg" and str(tree.children[1]) in LOOPS:
        return cost(tree.children[0]) + MAX_PREDICTORS * (LIST_COST + below)
    extra = {"list_lit": LIST_COST, "relation": COMPARED}.get(str(tree.data), 0)
    return 1 + extra + below


def costs(part, cardinality=1):
    """Of every rule below a schema, each as often as it may be run; a list without a bound may not be above one."""
    for check in part.get("x-kubernetes-validations") or ():
        yield cardinality * cost(ENVIRONMENT.compile(check["rule"]))
    for child in (part.get("properties") or {}).values():
        yield from costs(child, cardinality)
    if part.get("type") == "array":
        below = list(costs(part["items"], part.get("maxItems", math.inf)))
        yield from (cardinality * each for each in below)


def loops(tree):
    """The loops of an expression, each with the loops that it goes over."""
    for found in tree.iter_subtrees():
        if found.data == "member_dot_arg" and str(found.children[1]) in LOOPS:
            over = [each for each in found.children[0].iter_subtrees() if each.data == "member_dot_arg"]
            yield found, [str(each.children[1]) for each in over]


def test_no_loop_goes_over_what_a_loop_made():
    rules = [ENVIRONMENT.compile(rule.expression) for rule in (*SPEC_RULES, *PREDICTOR_RULES, *NODE_RULES)]
    found = [over for rule in rules for _, over in loops(rule)]
    assert len(found) >= 5
    assert found == [[]] * len(found)


def test_cost_of_the_rules_is_within_what_an_api_server_allows():
    found = list(costs(schema()))
    assert len(found) == len(SPEC_RULES) + len(PREDICTOR_RULES) + 2 * len(NODE_RULES)
    assert max(found) < PER_RULE / 4, "the reckoning here is rough: there must be room"
    assert sum(found) < PER_CRD / 4
