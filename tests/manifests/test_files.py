"""Every YAML file is read strictly, is used, and is there once."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.manifests.files import (
    KUSTOMIZATION,
    NOT_MANIFESTS,
    UNREACHED,
    kustomizations,
    load,
    manifests,
    shown,
    strictly,
    why_no_manifest,
    yaml_files,
)
from tests.manifests.kustomizations import BuildError, built, unreached
from tests.manifests.rules import guards
from tests.manifests.uniqueness import ALTERNATIVES, equal, told_twice, twice

CONFIG_MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n"
KINDS = "apiVersion: kustomize.config.k8s.io/{version}\nkind: {kind}\n"
APPLIED = kustomizations("Kustomization")


def write(folder: Path, **files: str) -> list[Path]:
    """``a__b`` becomes a/b.yaml."""
    found = []
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        found.append(path)
    return found


def kustomization(rest: str) -> str:
    return KINDS.format(version="v1beta1", kind="Kustomization") + rest


def component(rest: str) -> str:
    return KINDS.format(version="v1alpha1", kind="Component") + rest


@pytest.mark.parametrize("path", [path for path in yaml_files() if not shown(path).startswith("tests/")], ids=shown)
def test_file_has_no_key_twice_and_no_tab(path):
    said = list(strictly(path))
    others = ("apiVersion, kind", "an object with", "documents; one per file")
    assert [item for item in said if not (why_no_manifest(path) and any(word in item for word in others))] == []


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: 1\na: 2\n", r"file\.yaml:2:1: key 'a' comes twice"),
        ("a:\n- b: 1\n  b: 2\n", "key 'b' comes twice"),
        ("kind: A\n\tb: 1\n", r"file\.yaml:2: a tab"),
        (CONFIG_MAP.format(name="a") + "---\n" + CONFIG_MAP.format(name="b"), "2 documents; one per file"),
        ("# nothing\n", "0 documents"),
        ("kind: ConfigMap\n", r"apiVersion, metadata\.name missing"),
        ("- a\n", "an object with apiVersion"),
        ("a: [1\n", "expected"),
    ],
)
def test_strict_load_finds_what_is_wrong(tmp_path, text, complaint):
    (path,) = write(tmp_path, file=text)
    with pytest.raises(AssertionError, match=complaint):
        raise AssertionError(list(strictly(path)))


def test_a_file_of_json_patches_is_no_object_and_its_keys_are_read_strictly(tmp_path):
    operation = "- op: add\n  path: /spec/a\n  value: {b: 1}\n"
    right, twice_told = write(tmp_path, right=operation, wrong=operation + "- op: add\n  op: test\n  path: /a\n")
    assert list(strictly(right)) == []
    assert len(list(strictly(twice_told))) == 1


def test_each_pattern_of_what_is_no_manifest_names_something():
    names = [shown(path) for path in yaml_files()]
    assert all(why for why in NOT_MANIFESTS.values())
    assert [pattern for pattern in NOT_MANIFESTS if not any(fnmatch(name, pattern) for name in names)] == []


def test_every_manifest_is_reached():
    found = {shown(item.path): str(item) for item in unreached(manifests())}
    assert {name: said for name, said in found.items() if name not in UNREACHED} == {}
    assert set(UNREACHED) <= set(found), "these are reached now: take them off the list"


def test_a_file_that_nothing_names_and_a_component_that_nobody_uses_are_found(tmp_path):
    files = write(
        tmp_path,
        app__kustomization=kustomization(
            "resources: [used.yaml]\ncomponents: [../used]\npatches: [{path: patch.yaml}]\n"
        ),
        app__used=CONFIG_MAP.format(name="used"),
        app__patch=CONFIG_MAP.format(name="used"),
        app__left=CONFIG_MAP.format(name="left"),
        used__kustomization=component(""),
        alone__kustomization=component("resources: [own.yaml]\n"),
        alone__own=CONFIG_MAP.format(name="own"),
    )
    found = [item.path.relative_to(tmp_path).as_posix() for item in unreached(files)]
    assert found == ["alone/kustomization.yaml", "app/left.yaml"]


@pytest.mark.parametrize("folder", APPLIED, ids=shown)
def test_kustomization_builds_without_a_warning(folder):
    assert built(folder)
    assert twice(built(folder)) == []


@pytest.mark.parametrize(
    ("rest", "complaint"),
    [
        ("resources: [missing.yaml]\n", "missing.yaml"),
        ("resourcez: [one.yaml]\n", "resourcez"),
        ("resources: [one.yaml]\ncommonLabels: {a: b}\n", "deprecated"),
        ("resources: [one.yaml, two.yaml]\n", "may not add resource with an already registered id"),
    ],
)
def test_build_finds_what_is_wrong(tmp_path, rest, complaint):
    write(tmp_path, kustomization=kustomization(rest), one=CONFIG_MAP.format(name="a"), two=CONFIG_MAP.format(name="a"))
    with pytest.raises(BuildError, match=complaint):
        built(tmp_path)


def test_no_two_files_are_equal_or_the_same_object():
    files = manifests()
    assert equal(files) == []
    found = told_twice(files)
    assert {name: places for name, places in found.items() if name not in ALTERNATIVES} == {}
    assert set(ALTERNATIVES) <= set(found), "these are there once now: take them off the list"


def test_equal_files_and_objects_of_one_name_are_found(tmp_path):
    one, two, *_ = files = write(
        tmp_path,
        one=CONFIG_MAP.format(name="a"),
        two=CONFIG_MAP.format(name="a"),
        three=CONFIG_MAP.format(name="a") + "data: {a: b}\n",
        four=CONFIG_MAP.format(name="a") + "  namespace: other\n",
    )
    assert equal(files) == [[str(one), str(two)]]
    assert {name: len(places) for name, places in told_twice(files).items()} == {"ConfigMap a": 3}
    assert twice([load(path) for path in files]) == ["ConfigMap a"]


@pytest.mark.parametrize("folder", [*APPLIED, *kustomizations("Component")], ids=shown)
def test_patches_that_count_are_guarded(folder):
    assert list(guards(load(folder / KUSTOMIZATION))) == []


def test_a_patch_without_a_guard_is_found():
    replace = "- {op: replace, path: /spec/predictors/1/traffic, value: 25}\n"
    test = "- {op: test, path: /spec/predictors/1/name, value: canary}\n"
    assert list(guards({"patches": [{"patch": replace}]}))
    assert not list(guards({"patches": [{"patch": test + replace}]}))
