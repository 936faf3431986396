"""The CRD: what ``slipway crd`` prints, structural, and the fields of Seldon Core's own."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from slipway.cli.main import main
from slipway.crd.definition import COLUMNS, DIGEST, NUMBER, definition, digest, number, render
from slipway.crd.descriptions import DESCRIPTIONS
from slipway.crd.schema import schema
from slipway.crd.structural import prune, validate
from slipway.onebox.api.crds import builtin_crds, check_crd
from tests.contract.manifests import node, predictor, sdep
from tests.contract.test_validation import RULES
from tests.crd.seldons import seldons_schema
from tests.crd.structural_rules import faults

ROOT = Path(__file__).parents[2]
FILE = ROOT / "kubernetes/crd/seldondeployments.yaml"
BEYOND_SELDONS = ".hpaSpec.behavior"
"""What Seldon Core's definition does not know: it drops it, silently but for a warning."""
LAST_APPLIED_LIMIT = 262_144
"""Bytes of all annotations of one object: kubectl apply keeps the whole object in one."""


def test_golden_file_is_what_the_command_prints():
    printed = CliRunner().invoke(main, ["crd"], catch_exceptions=False)
    assert printed.exit_code == 0
    assert printed.output == FILE.read_text(), (
        "`slipway crd > kubernetes/crd/seldondeployments.yaml`, and read the diff"
    )


def test_a_change_of_the_definition_has_a_number_of_its_own():
    """By which an older release knows that it would go back. Both change together: one more, and the new digest."""
    crd = definition()
    assert number(crd) == NUMBER
    assert (NUMBER, crd["metadata"]["annotations"][DIGEST]) == (
        3,
        "acf18c98a27cd2026b2eaeee0d15eac20b3d12e43be4358d6fb4acfd424a5799",
    )


def test_each_column_holds_one_value():
    """API servers print the first of several."""
    assert [column["jsonPath"] for column in COLUMNS if re.search(r"\*|\?|\.\.", column["jsonPath"])] == []


def test_what_is_printed_reads_as_what_was_made():
    assert yaml.safe_load(render(definition())) == definition()
    assert "&id" not in render(definition())


def test_api_of_one_machine_serves_the_same_definition():
    served = next(crd for crd in builtin_crds() if crd["metadata"]["name"] == definition()["metadata"]["name"])
    assert served == definition()
    assert check_crd(served, None) == []


def test_each_field_is_described():
    """Of a graph its root and the first children; where unknown fields are kept, the known ones too."""
    found = dict(_texts(schema(), ""))
    assert found.keys() == DESCRIPTIONS.keys()
    assert {path for path, text in found.items() if not text} == set()
    assert all(text.endswith(".") and len(text) < 200 for text in found.values())


def _texts(part: dict[str, Any], path: str) -> Iterator[tuple[str, str]]:
    yield path, part.get("description", "")
    if path.endswith(".children.children"):
        return
    names = part.get("properties") or part.get("items", {}).get("properties") or {}
    for name, child in names.items():
        yield from _texts(child, f"{path}.{name}".lstrip("."))


def test_digest_is_of_the_spec_alone():
    crd = definition()
    assert crd["metadata"]["annotations"][DIGEST] == digest(crd["spec"])
    assert digest(json.loads(json.dumps(crd["spec"]))) == digest(crd["spec"])
    crd["spec"]["names"]["shortNames"].append("sd")
    assert crd["metadata"]["annotations"][DIGEST] != digest(crd["spec"])


def test_each_caller_has_a_definition_of_its_own():
    """In every part: a change of one would go into the digest of all that come after."""
    before = copy.deepcopy(definition())
    pending: list[Any] = [definition()["spec"]]
    while pending:
        part = pending.pop()
        pending += part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
        if isinstance(part, dict | list):
            part.clear()
    assert definition() == before


def test_plain_kubectl_apply_can_hold_it():
    assert len(json.dumps(definition())) < LAST_APPLIED_LIMIT / 2


def test_three_versions_have_one_schema_and_v1_is_stored():
    versions = definition()["spec"]["versions"]
    assert [version["name"] for version in versions if version["served"]] == ["v1", "v1alpha2", "v1alpha3"]
    assert [version["name"] for version in versions if version["storage"]] == ["v1"]
    assert all(version["schema"] == versions[0]["schema"] for version in versions)


def test_schema_is_structural():
    assert list(faults(schema())) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"properties": {"a": {}}}, "without a type"),
        ({"properties": {"a": {"type": "array"}}}, "without items"),
        ({"properties": {"a": {"type": "object", "additionalProperties": False}}}, "additionalProperties"),
        ({"properties": {"a": {"$ref": "#/x"}}}, r"\$ref may not stand here"),
        ({"properties": {"metadata": {"type": "object"}}}, "own"),
        ({"required": ["b"]}, "no property"),
        ({"x-kubernetes-validations": [{"rule": "true", "message": "two\nlines"}]}, "one line"),
        ({"properties": {"a": {"type": "string", "x-kubernetes-int-or-string": True}}}, "with a type"),
    ],
)
def test_checker_finds_what_is_not_structural(change, fault):
    broken = {**schema(), **change}
    assert any(re.search(fault, found) for found in faults(broken))


def fields(part, path=""):
    """The paths of all fields down to where unknown ones are kept."""
    for name, child in (part.get("properties") or {}).items():
        yield f"{path}.{name}"
        if not child.get("x-kubernetes-preserve-unknown-fields"):
            yield from fields(child, f"{path}.{name}")
    if "items" in part and not part["items"].get("x-kubernetes-preserve-unknown-fields"):
        yield from fields(part["items"], f"{path}[]")


def test_fields_are_those_of_seldon_core():
    ours, theirs = set(fields(schema())), set(fields(seldons_schema()))
    assert ours <= theirs
    assert {path for path in theirs - ours if not is_below_kept(path)} == {".apiVersion", ".kind", ".metadata"}


def is_below_kept(path: str) -> bool:
    """Does our schema keep whatever stands at ``path``?"""
    part = schema()
    for name in path.strip(".").replace("[]", ".[]").split("."):
        if part.get("x-kubernetes-preserve-unknown-fields"):
            return True
        part = part["items"] if name == "[]" else (part.get("properties") or {}).get(name, {})
    return bool(part.get("x-kubernetes-preserve-unknown-fields"))


def manifests():
    for path in sorted((ROOT / "seldon").rglob("*.yaml")):
        for obj in yaml.safe_load_all(path.read_text()):
            if obj and obj.get("kind") == "SeldonDeployment":
                yield pytest.param(obj, id=str(path.relative_to(ROOT)))
    for name, (manifest, _, _) in RULES.items():
        yield pytest.param(manifest, id=name)
    deep = node("n9")
    for level in range(8, -1, -1):
        deep = node(f"n{level}", children=[deep])
    yield pytest.param(sdep(predictor(graph=deep)), id="ten levels")


@pytest.mark.parametrize("manifest", [*manifests()])
def test_what_is_written_for_one_definition_is_kept_whole_by_the_other(manifest):
    body = {"spec": manifest["spec"]}
    for name, each in (("ours", schema()), ("Seldon Core's", seldons_schema())):
        kept = copy.deepcopy(body)
        dropped = [path for path in prune(each, kept) if not (name != "ours" and path.endswith(BEYOND_SELDONS))]
        assert (name, dropped, list(validate(each, kept, path=""))) == (name, [], [])


def test_a_misspelt_field_is_dropped_by_both():
    for each in (schema(), seldons_schema()):
        body = {"spec": {**sdep(predictor(trafic=10))["spec"]}}
        assert prune(each, body) == ["spec.predictors[0].trafic"]


def test_help_has_examples():
    shown = CliRunner().invoke(main, ["crd", "--help"])
    assert "Examples:" in shown.output
