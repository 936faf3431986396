"""What another's definition means for us, and ours for its objects: pure."""

from __future__ import annotations

import copy

import pytest

from slipway.crd.adoption import Affected, affected, differences, helm_release, is_current, is_newer, is_ours
from slipway.crd.definition import DIGEST, NUMBER, NUMBERED, definition, number
from tests.contract.manifests import node, predictor, sdep
from tests.crd.seldons import seldons_definition


def test_our_own_definition_is_ours_current_and_differs_in_nothing():
    crd = definition()
    assert is_ours(crd)
    assert is_current(crd)
    found = differences(crd)
    assert (found.dropped_there, found.dropped_here, found.not_served, found.has_rules) == ((), (), (), True)


def test_what_the_api_adds_to_a_definition_makes_it_no_other():
    crd = definition()
    crd["spec"]["conversion"] = {"strategy": "None"}
    crd["metadata"] |= {"uid": "1", "resourceVersion": "7"}
    assert is_current(crd)


@pytest.mark.parametrize(
    "change",
    [
        lambda crd: crd["metadata"]["annotations"].update({DIGEST: "0" * 64}),
        lambda crd: crd["metadata"]["annotations"].pop(NUMBERED),
        lambda crd: crd["spec"]["versions"][0]["additionalPrinterColumns"].pop(),
        lambda crd: crd["spec"]["versions"][2].update(served=False),
    ],
)
def test_an_older_or_edited_definition_of_ours_is_not_current(change):
    crd = copy.deepcopy(definition())
    change(crd)
    assert is_ours(crd)
    assert not is_current(crd)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [(None, 1), ("", 1), ("x", 1), ("-3", 1), ("9" * 5000, 1), (str(NUMBER), NUMBER), (str(NUMBER + 1), NUMBER + 1)],
)
def test_number_of_a_definition(text, wanted):
    crd = definition()
    annotations = crd["metadata"]["annotations"]
    del annotations[NUMBERED]
    annotations |= {} if text is None else {NUMBERED: text}
    assert number(crd) == wanted
    assert is_newer(crd) is (wanted > NUMBER)
    assert is_current(crd) is (wanted == NUMBER)


def test_a_number_at_anothers_definition_says_nothing():
    crd = definition()
    crd["metadata"] = {"name": "x", "annotations": {NUMBERED: str(NUMBER + 1)}}
    assert not is_newer(crd)


@pytest.mark.parametrize(
    "metadata", [{}, {"labels": {"app.kubernetes.io/managed-by": "Helm"}}, {"annotations": {DIGEST: "x"}}]
)
def test_what_does_not_say_that_we_wrote_it_is_anothers(metadata):
    assert not is_ours({**definition(), "metadata": {"name": "x", **metadata}})


def test_seldon_cores_definition_serves_less_and_has_no_rules():
    found = differences(seldons_definition())
    assert not is_ours(seldons_definition())
    assert found.not_served == ("version v1alpha2", "version v1alpha3")
    assert not found.has_rules
    assert found.dropped_here == ()
    assert found.dropped_there == ("spec.predictors[].componentSpecs[].hpaSpec.behavior",)


def test_fields_that_only_one_definition_has_are_named_once():
    theirs = copy.deepcopy(definition())
    spec = theirs["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    items = spec["properties"]["predictors"]["items"]["properties"]
    del items["svcOrchSpec"]
    items["canaryPercent"] = {"type": "integer"}
    found = differences(theirs)
    assert found.dropped_there == ("spec.predictors[].svcOrchSpec",)
    assert found.dropped_here == ("spec.predictors[].canaryPercent",)


def test_a_definition_without_a_schema_keeps_everything():
    theirs = copy.deepcopy(definition())
    theirs["spec"]["versions"][0].pop("schema")
    assert differences(theirs).dropped_there == ()


def test_release_of_a_chart_is_told():
    annotations = {"meta.helm.sh/release-name": "seldon-core", "meta.helm.sh/release-namespace": "seldon-system"}
    assert helm_release({"metadata": {"annotations": annotations}}) == "seldon-system/seldon-core"
    assert helm_release({"metadata": {}}) == ""


def test_objects_that_would_change_are_listed_in_order_with_what_they_lose():
    plain = sdep(name="a")
    with_more = sdep(predictor(canaryPercent=10), name="c")
    broken = sdep(predictor(traffic=20), name="b")
    found = affected([with_more, broken, plain])
    assert found[0].name == "b"
    assert "20" in found[0].refused[0]
    assert found[1] == Affected("team", "c", ("spec.predictors[0].canaryPercent",))
    assert str(found[1]) == "team/c: loses spec.predictors[0].canaryPercent"
    assert len(found) == 2


def test_objects_are_not_changed_by_the_look():
    manifest = sdep(predictor(canaryPercent=10))
    before = copy.deepcopy(manifest)
    affected([manifest])
    assert manifest == before


def test_what_another_controller_keeps_is_not_held_to_our_rules():
    labelled = sdep(predictor(graph=node(type="MODELL")), metadata={"labels": {"seldon.io/controller-id": "seldon"}})
    assert affected([labelled]) == []
    assert "MODELL" in affected([labelled], controller_id="seldon")[0].refused[0]


def test_what_breaks_the_schema_is_told_whoever_keeps_it():
    labelled = sdep(predictor(name="x" * 64), metadata={"labels": {"seldon.io/controller-id": "seldon"}})
    assert affected([labelled])[0].refused == ("spec.predictors[0].name: Too long: may not be more than 63 bytes",)
