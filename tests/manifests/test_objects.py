"""Every object of every kustomization keeps to its schema and to the rules that no schema has."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from typing import Any

import pytest

from slipway import __version__
from tests.data import REPOSITORY
from tests.manifests import rules
from tests.manifests.files import kustomizations, shown
from tests.manifests.kustomizations import built
from tests.manifests.not_validated import NOT_VALIDATED
from tests.manifests.references import selectors_apart
from tests.manifests.schemas import (
    KUBERNETES,
    NoSchemaError,
    broken_rules,
    complain_of_definition,
    complain_of_kubernetes,
    has_definition,
    is_of_kubernetes,
)
from tests.manifests.uniqueness import identity

Object = dict[str, Any]
FOLDERS = kustomizations("Kustomization")
NOT_HARDENED = {
    "Deployment default/yolo-stable-0-image-transformer-yolo-detector": "as the controller makes it: seldon/plain",
    "Job train-shapes": "one machine's: its user, whose home the Job writes to; kubernetes/training is the cluster's",
}
NEWER = {("ValidatingAdmissionPolicy", "1.29"), ("ValidatingAdmissionPolicyBinding", "1.29")}
"""Kinds that are in seldon/admission alone, and a version of Kubernetes that does not have them yet."""
OURS = re.compile(r"\bslipway/[a-z0-9-]+:([\w.-]+)")
RULES = (rules.traffic, rules.images, rules.names, rules.pods)


def pod(**changes: Any) -> Object:
    """A Deployment that keeps to everything; ``changes`` of its container, None takes away."""
    container = {
        "name": "web",
        "image": "slipway/executor:0.1.0",
        "ports": [{"name": "http", "containerPort": 8000}],
        "securityContext": {
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
        "resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "1Gi"}},
        "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}},
        "livenessProbe": {"httpGet": {"path": "/live", "port": "http"}},
    }
    kept = {key: value for key, value in {**container, **changes}.items() if value is not None}
    security = {"runAsNonRoot": True, "runAsUser": 8888, "seccompProfile": {"type": "RuntimeDefault"}}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"securityContext": security, "containers": [kept]}}
    spec = {"selector": {"matchLabels": {"app": "web"}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}


def predictors(*items: Object) -> Object:
    spec = {"predictors": list(items)}
    return {"apiVersion": "machinelearning.seldon.io/v1", "kind": "SeldonDeployment", "metadata": {}, "spec": spec}


@pytest.mark.parametrize("folder", FOLDERS, ids=shown)
@pytest.mark.parametrize("version", KUBERNETES)
def test_kubernetes_takes_its_kinds(folder, version):
    """But for those that the version does not have yet: `slipway tenant add` leaves them out there."""
    there = [obj for obj in built(folder) if is_of_kubernetes(obj) and (obj["kind"], version) not in NEWER]
    found = {identity(obj): complain_of_kubernetes(obj, version) for obj in there}
    assert {name: said for name, said in found.items() if said} == {}


@pytest.mark.parametrize("folder", FOLDERS, ids=shown)
def test_selectors_are_about_their_own_pods(folder):
    assert selectors_apart(built(folder)) == []


def test_selector_of_other_pods_is_told():
    apart = pod()
    apart["spec"]["selector"] = {"matchLabels": {"app": "other"}}
    assert selectors_apart([apart]) == ["Deployment web: spec.selector does not match the labels of spec.template"]


@pytest.mark.data
@pytest.mark.parametrize("folder", FOLDERS, ids=shown)
def test_published_definitions_take_the_other_kinds(folder):
    found = {identity(obj): complain_of_definition(obj) for obj in built(folder) if has_definition(obj)}
    assert {name: said for name, said in found.items() if said} == {}


@pytest.mark.data
def test_kinds_without_a_schema_are_those_of_the_list():
    objects = [obj for folder in FOLDERS for obj in built(folder) if not is_of_kubernetes(obj)]
    assert {(obj["apiVersion"], obj["kind"]) for obj in objects if not has_definition(obj)} == set(NOT_VALIDATED)


def test_page_names_what_is_not_validated():
    page = (REPOSITORY / "docs" / "kubernetes.md").read_text()
    assert [kind for (_, kind) in NOT_VALIDATED if not re.search(rf"`{kind}`.*not validated", page)] == []


@pytest.mark.data
def test_a_kind_that_nobody_defines_is_said_to_have_no_schema():
    for api_version in ("example.org/v1", "v1"):
        obj = {"apiVersion": api_version, "kind": "Nothing", "metadata": {"name": "a"}}
        ask = complain_of_definition if "." in api_version else lambda one: complain_of_kubernetes(one, KUBERNETES[0])
        with pytest.raises(NoSchemaError):
            ask(obj)
        assert not has_definition(obj)


@pytest.mark.data
def test_a_misspelt_key_of_any_kind_is_found():
    one_of_each = {(obj["apiVersion"], obj["kind"]): deepcopy(obj) for folder in FOLDERS for obj in built(folder)}
    missed = []
    for kind, obj in one_of_each.items():
        obj["metadata"]["labelz"] = {}
        said = complain_of_kubernetes(obj, KUBERNETES[-1]) if is_of_kubernetes(obj) else complain_of_definition(obj)
        missed += [] if said else [kind]
    assert len(one_of_each) > 20
    assert set(missed) <= set(NOT_VALIDATED)


@pytest.mark.data
@pytest.mark.parametrize("folder", FOLDERS, ids=shown)
def test_rules_in_cel_of_the_definitions_hold(folder):
    found = {identity(obj): broken_rules(obj) for obj in built(folder) if has_definition(obj)}
    assert {name: said for name, said in found.items() if said} == {}


@pytest.mark.data
@pytest.mark.parametrize(
    ("api_version", "kind", "spec"),
    [
        ("security.istio.io/v1", "PeerAuthentication", {"portLevelMtls": {"8000": {"mode": "STRICT"}}}),
        (
            "security.istio.io/v1",
            "PeerAuthentication",
            {"selector": {"matchLabels": {"a": "b"}}, "portLevelMtls": {"80000": {"mode": "STRICT"}}},
        ),
        ("security.istio.io/v1", "RequestAuthentication", {"jwtRules": [{"issuer": "a", "jwksUri": "ftp://a/b"}]}),
        (
            "security.istio.io/v1",
            "AuthorizationPolicy",
            {"rules": [{"from": [{"source": {"serviceAccounts": ["a"], "namespaces": ["b"]}}]}]},
        ),
        ("networking.istio.io/v1", "VirtualService", {"http": [{"timeout": "0.1ms"}]}),
        (
            "gateway.networking.k8s.io/v1",
            "HTTPRoute",
            {"parentRefs": [{"name": "a", "namespace": "b"}, {"name": "a", "namespace": "b"}]},
        ),
        ("gateway.networking.k8s.io/v1", "HTTPRoute", {"rules": [{"backendRefs": [{"name": "a"}]}]}),
    ],
)
def test_what_breaks_a_rule_in_cel_is_found(api_version, kind, spec):
    obj = {"apiVersion": api_version, "kind": kind, "metadata": {"name": "a"}, "spec": spec}
    assert complain_of_definition(obj) == []
    assert len(broken_rules(obj)) == 1


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("folder", FOLDERS, ids=shown)
def test_objects_keep_to_the_rule(folder, rule):
    found = {identity(obj): list(rule(obj)) for obj in built(folder)}
    excused = NOT_HARDENED if rule is rules.pods else {}
    assert {name: said for name, said in found.items() if said and name not in excused} == {}


@pytest.mark.parametrize("folder", FOLDERS, ids=shown)
def test_every_image_of_ours_is_of_this_release_wherever_it_is_named(folder):
    """In variables, arguments and ConfigMaps, too."""
    assert set(OURS.findall(json.dumps(built(folder)))) <= {__version__}


def test_an_image_of_another_release_is_found_in_a_variable():
    obj = pod(env=[{"name": "EXECUTOR_IMAGE", "value": "host:5000/a/slipway/executor:0.0.9"}])
    assert set(OURS.findall(json.dumps(obj))) == {"0.0.9", "0.1.0"}


@pytest.mark.parametrize(
    ("items", "total"),
    [
        ([{}], None),
        ([{"traffic": 100}, {"shadow": True, "traffic": 50}], None),
        ([{"traffic": 90}, {"traffic": 10}], None),
        ([{}, {"traffic": 90}], 90),
        ([{"traffic": 90}, {"traffic": 20}], 110),
        ([{"traffic": 60}], 60),
        ([{"shadow": True, "traffic": 100}], 0),
    ],
)
def test_traffic_that_is_not_100_is_found(items, total):
    said = [] if total is None else [f"traffic of the live predictors is {total}, not 100"]
    assert list(rules.traffic(predictors(*items))) == said


@pytest.mark.parametrize("image", ["a", "a:latest", "host:5000/a", "a:", "", "a@sha256:12"])
def test_an_image_without_a_tag_is_found_wherever_it_is(image):
    assert list(rules.images(pod(image=image)))
    spec = {"componentSpecs": [{"spec": {"initContainers": [{"name": "a", "image": image}]}}]}
    assert list(rules.images(predictors(spec)))
    assert list(rules.images(predictors({"explainer": {"containerSpec": {"image": image}}})))


@pytest.mark.parametrize("image", ["a:1", "host:5000/a:0.1.0", f"a@sha256:{'0' * 64}", f"a:1@sha256:{'0' * 64}"])
def test_an_image_with_a_tag_or_digest_passes(image):
    assert not list(rules.images(pod(image=image)))


def test_long_names_are_found():
    assert not list(rules.names(pod()))
    assert list(rules.names({**pod(), "metadata": {"name": "a" * 64}}))
    assert list(rules.names(pod(name="a" * 64)))
    assert list(rules.names(pod(ports=[{"name": "a" * 16, "containerPort": 1}])))


@pytest.mark.parametrize(
    "changes",
    [
        {"securityContext": None},
        {"securityContext": {"readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False}},
        {"securityContext": {**pod()["spec"]["template"]["spec"]["containers"][0]["securityContext"], "runAsUser": 0}},
        {"resources": None},
        {"resources": {"requests": {"cpu": "1", "memory": "1Gi"}}},
        {"readinessProbe": None},
        {"livenessProbe": None},
    ],
)
def test_a_pod_that_lacks_something_is_found(changes):
    assert not list(rules.pods(pod()))
    assert len(list(rules.pods(pod(**changes)))) >= 1
