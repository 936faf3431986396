"""The page of compatibility is complete, its tests exist, and its table of fields agrees with schema and rules."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.internal import api_implementation

from slipway.contract.admission import review
from slipway.contract.annotations import SELDON
from slipway.contract.without_effect import without_effect
from slipway.crd.schema import schema
from tests.contract.manifests import Manifest, component, node, predictor, sdep
from tests.data import REPOSITORY

PAGE = (REPOSITORY / "docs" / "compatibility.md").read_text()
STATES = {"same", "better", "internal", "not yet"}
PLACES = {"works here", "cluster only", "refused"}
TEST = re.compile(r"`(\w+/test_\w+\.py)(?:::(test_\w+))?`")
PREDICTOR = "spec.predictors[]."

REFUSED: dict[str, Manifest] = {
    f"{PREDICTOR}ssl": sdep(predictor(ssl={"certSecretName": "tls"})),
    f"{PREDICTOR}explainer.initParameters": sdep(
        predictor(explainer={"type": "AnchorTabular", "containerSpec": {"image": "x:1"}, "initParameters": "{}"})
    ),
}
"""A use of each field that is refused as a whole; its inner fields go with it."""

TAKEN: Manifest = sdep(
    predictor(
        graph=node(
            type="MODEL",
            implementation="UNKNOWN_IMPLEMENTATION",
            methods=["SEND_FEEDBACK"],
            modelUri="s3://models/one",
            serviceAccountName="reader",
            envSecretRefName="keys",
            storageInitializerImage="initializer:1",
            endpoint={"service_host": "h", "service_port": 1, "httpPort": 1, "grpcPort": 2, "type": "REST"},
            parameters=[{"name": "n", "value": "1", "type": "INT"}],
            logger={"mode": "all", "url": "http://events.default.svc"},
            children=[node("below")],
        ),
        componentSpecs=[
            {
                "spec": {**component("clf")["spec"], "initContainers": [], "volumes": []},
                "metadata": {"name": "pods"},
                "replicas": 1,
                "hpaSpec": {"minReplicas": 1, "maxReplicas": 2, "behavior": {"scaleDown": {"policies": []}}},
                "kedaSpec": {"triggers": [{"type": "cpu", "metadata": {"value": "80"}}]},
                "pdbSpec": {"minAvailable": 1},
            },
            component("below", pdbSpec={"maxUnavailable": 1}),
        ],
        replicas=1,
        traffic=100,
        shadow=False,
        progressDeadlineSeconds=600,
        labels={"team": "a"},
        annotations={"team": "a"},
        engineResources={"requests": {}},
        svcOrchSpec={"replicas": 1, "resources": {}, "env": []},
        explainer={
            "type": "AnchorTabular",
            "modelUri": "s3://models/why",
            "serviceAccountName": "reader",
            "envSecretRefName": "keys",
            "storageInitializerImage": "initializer:1",
            "replicas": 1,
            "config": {"threshold": "0.95"},
            "containerSpec": {"image": "explainer:1"},
            "endpoint": {"httpPort": 9000},
        },
    ),
    name="all",
    protocol="seldon",
    transport="rest",
    serverType="rpc",
    replicas=1,
    annotations={"team": "a"},
    oauth_key="k",
    oauth_secret="s",
)
TAKEN["spec"]["name"] = "old"


def rows(heading: str) -> list[list[str]]:
    """Cells of the table rows below a heading, up to the next one."""
    section = PAGE.split(f"## {heading}", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|") and not line.startswith("|---")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@functools.cache
def defined_in(file: str) -> frozenset[str]:
    """Test functions that a file really defines."""
    parsed = ast.parse((REPOSITORY / "tests" / file).read_text())
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(one.name for one in parsed.body if isinstance(one, functions))


@pytest.mark.parametrize(("heading", "count"), [("The 97 behaviours", 97), ("The 32 known problems", 32)])
def test_page_has_every_number_once_with_a_state_and_its_tests(heading, count):
    found = [row for row in rows(heading) if row[0].isdigit()]
    assert [int(row[0]) for row in found] == list(range(1, count + 1))
    for number, what, state, note, tests in found:
        assert what
        assert state in STATES, number
        assert note or state in ("same", "better"), f"{number}: say what is missing, or where it shows"
        assert state == "not yet" or TEST.search(tests), f"{number} names no test"


def marked() -> Iterator[tuple[int, str, str]]:
    """Row, verdict and test (as the page names it) of each mark of the tests that run under both start commands."""
    for path in sorted((REPOSITORY / "tests" / "conformance").glob("test_*.py")):
        for one in ast.parse(path.read_text()).body:
            for mark in one.decorator_list if isinstance(one, ast.FunctionDef) else ():
                match mark:
                    case ast.Call(ast.Name("same" | "better" as verdict), [ast.Constant(int(row))]):
                        yield row, verdict, f"conformance/{path.name}::{one.name}"


def test_verdict_of_a_behaviour_is_the_one_that_its_tests_are_marked_with():
    """Better is what one test shows to fail under 1.17.1; the suite itself fails where it does not."""
    told = {int(row[0]): row for row in rows("The 97 behaviours") if row[0].isdigit()}
    marks = list(marked())
    assert {row for row, _, _ in marks} == set(range(80, 98))
    for number in range(80, 98):
        verdicts = {verdict for row, verdict, _ in marks if row == number}
        assert told[number][2] == ("better" if "better" in verdicts else "same"), number
        named = {test for row, _, test in marks if row == number}
        assert all(f"`{test}`" in told[number][4] for test in named), (number, named)


def test_page_names_tests_that_exist():
    named = TEST.findall(PAGE)
    assert len(named) > 150
    assert not [f"{file}::{test}" for file, test in named if test and test not in defined_in(file)]
    assert not [file for file, _ in named if not (REPOSITORY / "tests" / file).is_file()]


def test_page_names_whole_tests_only():
    """Whatever looks like a test is one that the check above reads."""
    whole = TEST.sub("", PAGE)
    assert re.findall(r"\w+\.py::\w+|test_\w+\.py", whole) == []


def test_fields_of_the_page_are_those_of_the_schema():
    assert [field for field, _ in field_rows()] == list(_paths(schema()["properties"]["spec"], "spec"))


def test_every_field_has_a_place():
    assert {place for _, place in field_rows()} == PLACES


def test_refused_fields_are_refused():
    listed = {field for field, place in field_rows() if place == "refused"}
    assert {field for field in listed if not any(field.startswith(f"{other}.") for other in listed)} == REFUSED.keys()
    for field, manifest in REFUSED.items():
        assert any("not offered" in cause.message for cause in review(manifest)), field


def test_every_other_field_is_taken():
    """One manifest with all of them passes admission, so that no row says so of a field that a rule refuses."""
    assert review(TAKEN) == []
    used = set(_used(TAKEN["spec"], "spec"))
    assert {field for field, place in field_rows() if place != "refused"} - used == set()


def test_fields_without_effect_are_those_that_are_warned_of():
    found = [row[0].strip("`") for row in rows("Every field of the resource") if "without effect" in row[2]]
    spec = {name: value for name, value in TAKEN["spec"].items() if name != "replicas"}  # each level overrules it there
    told = without_effect({**TAKEN, "spec": spec})
    warned = {text.partition(" has no effect")[0].replace("[0]", "[]") for text in told}
    assert {name for name in found if name.startswith("spec")} == warned


def test_annotations_of_the_page_are_those_of_the_table():
    found = [row[0].strip("`") for row in rows("Every field of the resource") if row[0].startswith("`seldon.io/")]
    ours = [name for name in found if "<" not in name and "label" not in name]
    assert ours == [annotation.name for annotation in SELDON]


def field_rows() -> list[tuple[str, str]]:
    return [(row[0].strip("`"), row[1]) for row in rows("Every field of the resource") if row[0].startswith("`spec")]


def _paths(schema: dict[str, Any], at: str) -> Iterator[str]:
    """Every field below ``at``; the children of a graph are its own again."""
    for name, part in schema.get("properties", {}).items():
        path = f"{at}.{name}"
        yield path
        if name != "children":
            yield from _paths(part, path)
            yield from _paths(part.get("items", {}), f"{path}[]")


def _used(value: Any, at: str) -> Iterator[str]:
    if isinstance(value, dict):
        for name, part in value.items():
            yield f"{at}.{name}"
            yield from _used(part, f"{at}.{name}")
    elif isinstance(value, list):
        for part in value:
            yield from _used(part, f"{at}[]")


def test_protobuf_has_its_compiled_codec():
    assert api_implementation.Type() == "upb"


def test_licence_is_apache():
    assert "Apache License\n                           Version 2.0" in (REPOSITORY / "LICENSE").read_text()
