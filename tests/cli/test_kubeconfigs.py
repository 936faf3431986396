"""Which kubeconfig a command reads, with and without `--context`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from slipway.cli.kubeconfigs import find_access
from slipway.kube.errors import ConfigError

Write = Callable[[str, str], Path]
PLATFORM, CLUSTER, OTHER = "https://127.0.0.1:8001", "https://cluster", "https://other"


@pytest.fixture(autouse=True)
def homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path / "platform"))
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A kubeconfig below the test's folder whose only context has this name leads to this server."""

    def written(place: str, server: str) -> Path:
        name = {PLATFORM: "slipway", CLUSTER: "kind-slipway", OTHER: "other"}[server]
        entries = {
            "clusters": [{"name": name, "cluster": {"server": server}}],
            "contexts": [{"name": name, "context": {"cluster": name}}],
            "current-context": name,
        }
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(entries))
        return path

    return written


@pytest.fixture
def both(write: Write) -> tuple[Path, Path]:
    """The machine's platform, and the user's own kubeconfig."""
    return write("platform/kubeconfig", PLATFORM), write("user/.kube/config", CLUSTER)


@pytest.mark.usefixtures("both")
@pytest.mark.parametrize(("context", "server"), [(None, PLATFORM), ("slipway", PLATFORM), ("kind-slipway", CLUSTER)])
def test_context_is_found_wherever_it_is(context: str | None, server: str) -> None:
    assert find_access(context).server == server


def test_platform_alone_has_its_context(write: Write) -> None:
    write("platform/kubeconfig", PLATFORM)
    assert find_access("slipway").server == PLATFORM


def test_no_platform_leaves_the_users_own(write: Write) -> None:
    write("user/.kube/config", CLUSTER)
    assert find_access().server == find_access("kind-slipway").server == CLUSTER


@pytest.mark.usefixtures("both")
@pytest.mark.parametrize("context", [None, "other"])
def test_kubeconfig_variable_comes_before_both(
    context: str | None, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(write("third", OTHER)))
    assert find_access(context).server == OTHER
    with pytest.raises(ConfigError, match="no entry named 'slipway'; there are: other"):
        find_access("slipway")


def test_context_that_is_nowhere_is_told_with_every_file(both: tuple[Path, Path]) -> None:
    with pytest.raises(ConfigError) as told:
        find_access("nowhere")
    for path, name in zip(both, ("slipway", "kind-slipway"), strict=True):
        assert f"{path}: contexts: no entry named 'nowhere'; there are: {name}" in str(told.value)


def test_broken_file_of_the_platform_is_told_not_passed_over(both: tuple[Path, Path]) -> None:
    both[0].write_text("[]")
    with pytest.raises(ConfigError, match="not a kubeconfig"):
        find_access()
