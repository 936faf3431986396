"""Kubeconfigs are read like kubectl reads them, and errors name the entry."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from slipway.kube import kubeconfig
from slipway.kube.errors import ConfigError
from slipway.kube.kubeconfig import in_cluster, load_access


def write(path: Path, **changes: Any) -> Path:
    config = {
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {"token": "secret"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": "team"}}],
        "current-context": "x",
        **changes,
    }
    path.write_text(yaml.safe_dump(config))
    return path


def test_token_and_namespace_come_from_the_context(tmp_path: Path) -> None:
    access = load_access(write(tmp_path / "config"))
    assert (access.server, access.namespace, access.bearer()) == ("http://127.0.0.1:1", "team", "secret")
    assert "secret" not in repr(access)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"current-context": ""}, "current-context is empty"),
        ({"current-context": "y"}, "contexts: no entry named 'y'; there are: x"),
        ({"clusters": []}, "clusters: no entry named 'c'; there are: none"),
        ({"clusters": [{"name": "c", "cluster": {"server": "ftp://x"}}]}, "not an http"),
        ({"clusters": [{"name": "c", "cluster": {"server": "https://"}}]}, "'https://' is not an http"),
        ({"clusters": [{"name": "c", "cluster": {"server": "https://a b:1"}}]}, "is not an http"),
        ({"clusters": [{"name": "c", "cluster": {"server": "https://[::1"}}]}, "is not an http"),
        ({"clusters": [{"name": "c", "cluster": {"server": "https://a:port"}}]}, "is not an http"),
        ({"users": [{"name": "u", "user": {"auth-provider": {"name": "gcp"}}}]}, "Kubernetes has removed these"),
        (
            {"users": [{"name": "u", "user": {"exec": {"command": "aws"}}}]},
            r"users\[u\].exec.apiVersion: '' is not one of",
        ),
        (
            {"users": [{"name": "u", "user": {"exec": {"apiVersion": "client.authentication.k8s.io/v1"}}}]},
            "exec.command: empty",
        ),
        (
            {"clusters": [{"name": "c", "cluster": {"server": "http://h", "proxy-url": "socks5://h"}}]},
            "only http and https proxies",
        ),
        (
            {"users": [{"name": "u", "user": {"as": "ada", "as-user-extra": {"x": ["y"]}}}]},
            "as-user-extra: not supported",
        ),
    ],
)
def test_errors_name_file_and_entry(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    path = write(tmp_path / "config", **changes)
    with pytest.raises(ConfigError, match=words) as caught:
        load_access(path)
    assert str(path) in str(caught.value)


def test_kubeconfig_variable_merges_files_first_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = write(tmp_path / "one", users=[{"name": "u", "user": {"token": "mine"}}])
    second = write(tmp_path / "two")
    monkeypatch.setenv("KUBECONFIG", f"{first}:{second}:{tmp_path / 'absent'}")
    assert load_access().bearer() == "mine"


def test_paths_are_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from file\n")
    path = write(tmp_path / "config", users=[{"name": "u", "user": {"tokenFile": "token"}}])
    assert load_access(path).bearer() == "from file"


def test_impersonation_is_read(tmp_path: Path) -> None:
    user = {"token": "secret", "as": "ada", "as-uid": "7", "as-groups": ["one", "two"]}
    access = load_access(write(tmp_path / "config", users=[{"name": "u", "user": user}]))
    assert access.acts_as == (
        ("Impersonate-User", "ada"),
        ("Impersonate-Uid", "7"),
        ("Impersonate-Group", "one"),
        ("Impersonate-Group", "two"),
    )


def test_pod_is_known_by_its_mounted_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in (("token", "t\n"), ("namespace", "slipway-system\n"), ("ca.crt", "PEM")):
        (tmp_path / name).write_text(text)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "6443")
    access = in_cluster(tmp_path)
    assert (access.server, access.namespace, access.bearer()) == ("https://[fd00::1]:6443", "slipway-system", "t")
    monkeypatch.setenv("POD_NAMESPACE", "user-ada")
    assert in_cluster(tmp_path).namespace == "user-ada"
    (tmp_path / "ca.crt").unlink()
    with pytest.raises(ConfigError, match="ca.crt: No such file or directory: a Pod's service account"):
        in_cluster(tmp_path)


def test_pod_that_asks_for_a_context_does_not_get_its_own_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a command for one cluster would change another."""
    for name, text in (("token", "t\n"), ("ca.crt", "PEM")):
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(kubeconfig, "SERVICE_ACCOUNT_FOLDER", tmp_path)
    monkeypatch.setattr(kubeconfig, "in_cluster", partial(in_cluster, tmp_path))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    assert load_access().server == "https://10.0.0.1:443"
    with pytest.raises(ConfigError, match="no kubeconfig: set KUBECONFIG"):
        load_access(context="other")
