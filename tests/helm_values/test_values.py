"""The values of every chart: strictly read, without secrets, their pieces of Kubernetes valid."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import slipway
from slipway.kube.manifests import ManifestError, parse_manifests
from tests.data import REPOSITORY
from tests.helm_values import pieces
from tests.helm_values.charts import DEFAULTS, FOLDER, charts, load, not_validated, repositories

FILES = sorted(FOLDER.rglob("*.yaml"))
SECRET = re.compile(
    r"(?i)(password|passwd|secret_?token|client_?secret|cookie_?secret|secret_?key|access_?key|api_?token)$"
)


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if items is None:
        yield path, value
        return
    for key, below in items:
        yield from _leaves(below, f"{path}.{key}")


def secrets_in(values: Any) -> list[str]:
    return [path for path, value in _leaves(values) if isinstance(value, str) and value and SECRET.search(path)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(FOLDER).as_posix())
def test_values_are_read_strictly(path: Path) -> None:
    text = path.read_text()
    assert "\t" not in text
    assert not doubled(text)


def doubled(text: str) -> list[str]:
    """Keys that come twice in one mapping, of which YAML readers keep the last silently."""
    found: list[str] = []
    nodes = [yaml.compose(text, Loader=yaml.CSafeLoader)]
    while nodes:
        node = nodes.pop()
        if isinstance(node, yaml.SequenceNode):
            nodes.extend(node.value)
        elif isinstance(node, yaml.MappingNode):
            names = [key.value for key, _ in node.value]
            found.extend(name for name in set(names) if names.count(name) > 1)
            nodes.extend(value for _, value in node.value)
    return found


def test_key_that_comes_twice_is_found() -> None:
    assert doubled("a: {b: 1, b: 2}\nc: [{d: 1}]") == ["b"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(FOLDER).as_posix())
def test_values_hold_no_secret(path: Path) -> None:
    assert not secrets_in(load(path))


def test_secret_in_values_is_found() -> None:
    values = {"hub": {"config": {"GoogleOAuthenticator": {"client_secret": "hunter2"}}}, "proxy": {"secretToken": "ab"}}
    assert len(secrets_in(values)) == 2


def test_name_of_a_secret_is_no_secret() -> None:
    assert not secrets_in({"admin": {"existingSecret": "grafana-admin", "passwordKey": "admin-password"}})


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(FOLDER).as_posix())
def test_pieces_of_kubernetes_are_valid(path: Path) -> None:
    assert not list(pieces.complaints(load(path)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"resources": {"request": {"cpu": "1"}}},
        {"a": {"resources": {"limits": {"memory": ["1Gi"]}}}},
        {"networkPolicy": {"egress": [{"to": [{"ipBlocks": {"cidr": "0.0.0.0/0"}}]}]}},
        {"profileList": [{"kubespawner_override": {"tolerations": [{"kee": "nvidia.com/gpu"}]}}]},
        {"extraVolumes": {"tmp": {"name": "tmp", "emptyDirs": {}}}},
        {"containerSecurityContext": {"allowPrivilegeEscalations": False}},
        {"storageSpec": {"volumeClaimTemplate": {"spec": {"accessMode": ["ReadWriteOnce"]}}}},
        {"topologySpreadConstraints": [{"maxSkew": "one"}]},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_wrong_piece_of_kubernetes_is_found(wrong: dict[str, Any]) -> None:
    assert list(pieces.complaints(wrong))


def test_every_file_belongs_to_a_chart() -> None:
    text = (FOLDER / "README.md").read_text()
    assert [path.name for path in FILES if f"({path.relative_to(FOLDER).as_posix()})" not in text] == []
    for chart in charts().values():
        assert all(path.is_file() for path in (*chart.files, *chart.small)), chart.name


def test_every_chart_comes_from_a_repository_that_is_named() -> None:
    assert {chart.repository for chart in charts().values()} == set(repositories())


def test_every_chart_with_values_is_checked_or_said_not_to_be() -> None:
    with_values = {chart.name for chart in charts().values() if chart.files}
    assert with_values - set(DEFAULTS) == not_validated()


def test_versions_are_pinned() -> None:
    assert all(re.fullmatch(r"v?\d+\.\d+\.\d+", chart.version) for chart in charts().values())


def test_repository_readme_leads_here() -> None:
    assert "`helm-values/`" in (REPOSITORY / "README.md").read_text()


def test_adapter_has_the_rules_of_the_page() -> None:
    page = (REPOSITORY / "docs" / "scaling.md").read_text()
    (text,) = re.findall(r"```yaml\n(rules:\n.*?)```", page, re.DOTALL)
    values = load(FOLDER / "prometheus-adapter.yaml")
    assert values["rules"]["custom"] == yaml.safe_load(text)["rules"]
    keda = load(REPOSITORY / "seldon" / "components" / "autoscaling-keda" / "kustomization.yaml")["patches"][0]["patch"]
    prometheus = f"{values['prometheus']['url']}:{values['prometheus']['port']}"
    assert f"serverAddress: {prometheus}\n" in keda
    page = (REPOSITORY / "docs" / "scaling.md").read_text()
    assert re.findall(r"serverAddress: (\S+)", page) == [prometheus]


def test_images_of_ours_have_this_version() -> None:
    tags = re.findall(r"slipway/[a-z-]+(?::|, tag: )([0-9.]+)", (FOLDER / "jupyterhub.yaml").read_text())
    assert set(tags) == {slipway.__version__}
    assert len(tags) == 2


def test_values_that_are_no_mapping_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "values.yaml"
    path.write_text("- a\n")
    with pytest.raises(AssertionError, match="a mapping is needed"):
        load(path)
    with pytest.raises(ManifestError):
        parse_manifests(path.read_text(), origin="values.yaml")
