"""Manifests: what is read, and what is refused by its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway.kube.manifests import ManifestError, in_order, load_manifests, parse_manifests

HEAD = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"


def test_documents_and_lists_become_objects_in_order() -> None:
    text = f"{HEAD}---\n---\nkind: List\nitems:\n- {{apiVersion: v1, kind: Namespace, metadata: {{name: other}}}}\n"
    objects = parse_manifests(text, origin="here")
    assert [obj["kind"] for obj in objects] == ["ConfigMap", "Namespace"]
    assert [obj["kind"] for obj in in_order(objects)] == ["Namespace", "ConfigMap"]


def test_dates_stay_text() -> None:
    assert parse_manifests(f"{HEAD}data: {{day: 2026-01-01}}", origin="here")[0]["data"] == {"day": "2026-01-01"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "here:2:1: did not find expected node content"),
        ("a: 1\na: 2", "here:2:1: key 'a' comes twice"),
        ("- 1", "here: document 1: an object with apiVersion"),
        ("kind: ConfigMap", "here: document 1: apiVersion, metadata.name missing"),
        (f"{HEAD}data: .nan", "here: document 1: has no JSON form"),
        (f"{HEAD}data: &d {{x: *d}}", "here:4:7: an anchor is inside itself"),
        (
            "kind: y\napiVersion: 1\nmetadata: {name: a}",
            "here: document 1: apiVersion: 1 is no text: write it in quotes",
        ),
        (f"{HEAD}data: {{é: \0}}", "here:4:11: U+0000 has no place in YAML: a manifest is text"),
        ("- " * 100_000, "here:1:201: more than 100 levels deep"),
        ("a: " + "[" * 100_000, "here:1:103: more than 100 levels deep"),
    ],
)
def test_what_cannot_be_read_is_one_line_with_its_place(text: str, said: str) -> None:
    with pytest.raises(ManifestError) as refused:
        parse_manifests(text, origin="here")
    assert str(refused.value).startswith(said)
    assert "\n" not in str(refused.value)


def test_what_is_nested_deeply_is_read() -> None:
    data = parse_manifests(f"{HEAD}data: {'[' * 99}{']' * 99}", origin="here")[0]["data"]
    assert str(data) == "[" * 99 + "]" * 99


def test_a_folder_is_read_sorted_and_without_other_files(tmp_path: Path) -> None:
    for name in ("b.yaml", "a.yml", "notes.txt"):
        (tmp_path / name).write_text(HEAD.replace("name: a", f"name: {name}"))
    assert [obj["metadata"]["name"] for obj in load_manifests(tmp_path)] == ["a.yml", "b.yaml"]
    with pytest.raises(ManifestError, match="nowhere"):
        load_manifests(tmp_path / "nowhere.yaml")


def test_kustomizations_own_files_are_no_objects() -> None:
    head = "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n"
    assert parse_manifests(head, origin="a") == parse_manifests("kind: Kustomization\n", origin="a") == []
    with pytest.raises(ManifestError, match="metadata.name"):
        parse_manifests("apiVersion: core.oam.dev/v1\nkind: Component\n", origin="a")
