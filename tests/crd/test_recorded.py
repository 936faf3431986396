"""What a real API server made of a definition (../shared/reference/kube-api), which install.py relies on."""

from __future__ import annotations

import json

from slipway.crd.adoption import differences
from slipway.crd.definition import definition
from tests.crd.structural_rules import ALLOWED
from tests.data import KUBE_API


def recorded() -> tuple[dict, dict]:
    """The SeldonDeployment that was registered: what was sent, and what came back."""
    pairs = json.loads((KUBE_API / "01-crd.json").read_text())["pairs"]
    (pair,) = (each for each in pairs if each["name"] == "create CRD SeldonDeployment")
    assert pair["response"]["status"] == 201
    return pair["request"]["body"], pair["response"]["body"]


def test_an_api_server_gives_versions_back_as_they_were_sent():
    sent, kept = recorded()
    assert kept["spec"]["versions"] == sent["spec"]["versions"]
    assert kept["spec"].keys() - sent["spec"].keys() == {"conversion"}


def test_keywords_of_ours_are_those_that_a_real_api_server_took_in_that_one():
    sent, _ = recorded()
    took, ours = json.dumps(sent), json.dumps(definition())
    new = {key for key in ALLOWED if f'"{key}":' in ours and f'"{key}":' not in took}
    assert new == {"x-kubernetes-int-or-string"}
    assert sent["spec"]["names"].keys() == definition()["spec"]["names"].keys()


def test_a_definition_with_enums_and_other_bounds_can_be_compared_with_ours():
    sent, _ = recorded()
    found = differences(sent)
    assert "spec.transport" in found.dropped_there
    assert found.not_served == ("version v1alpha2", "version v1alpha3")
    assert found.has_rules
