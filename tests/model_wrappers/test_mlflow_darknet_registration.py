"""Logging and registering a Darknet model in MLflow: what is refused first, and what a failure half-way leaves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlflow
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException

from model_wrappers import mlflow_darknet
from model_wrappers.darknet.proof import Proof
from model_wrappers.mlflow_darknet.alias_record import ALIAS_TAG
from model_wrappers.mlflow_darknet.registration import check_version_labels
from model_wrappers.model_sums import SumsError
from slipway.registry import ModelReference, parse_model_reference
from tests.model_wrappers.conftest import files_of


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ({"registered_model_name": "a/b"}, "Names cannot contain"),
        ({"registered_model_name": "a@b"}, "models:/NAME@ALIAS could not be read"),
        ({"registered_model_name": "a\0b"}, "models:/NAME@ALIAS could not be read"),
        ({"registered_model_name": "a", "aliases": ["größe"]}, "Invalid alias name: 'größe'"),
        ({"registered_model_name": "a", "aliases": ["latest"]}, "is reserved"),
        ({"registered_model_name": "a", "aliases": ["good", "v3"]}, "is reserved"),
        ({"registered_model_name": "a", "aliases": ["b c"]}, "Invalid alias name"),
        ({"registered_model_name": "a", "tags": {"a&b": "1"}}, "a&b"),
        ({"registered_model_name": "a", "tags": {"slipway.digest": "sha256:0"}}, "is set by the registration itself"),
        ({"registered_model_name": "a", "tags": {"sha256.cfg": "0"}}, "is set by the registration itself"),
        ({"aliases": ["champion"]}, "registered_model_name is missing"),
        ({"tags": {"team": "a"}}, "registered_model_name is missing"),
    ],
)
def test_names_aliases_and_tags_are_refused_before_anything_is_logged(
    sources: Path, labels: Mapping[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")  # nobody is asked
    with pytest.raises(MlflowException, match=said):
        mlflow_darknet.log_model(**files_of(sources), **labels)


@given(name=st.text(max_size=8), alias=st.text(max_size=8))
@example(name="a b", alias="b-1_")
@example(name="x" * 257, alias="b")
def test_what_is_registered_can_be_deployed(name: str, alias: str) -> None:
    try:
        check_version_labels(name, [alias], {})
    except MlflowException:
        return
    assert parse_model_reference(f"models:/{name}@{alias}") == ModelReference(name, alias=alias)


class Registry:
    """What ``log_model`` does with a version that ``Model.log`` has made; ``fails`` names the calls that break."""

    def __init__(self, *fails: str) -> None:
        self.fails, self.calls = fails, []

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            self.calls.append(name)
            if name in self.fails:
                raise MlflowException(f"{name}: the registry\nis away")
            return SimpleNamespace(
                experiment_id="0", aliases={"champion": 2}, tags={f"{ALIAS_TAG}champion": "by ann"}, version=3
            )

        return call


@pytest.fixture
def log(sources: Path, proof: Proof, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """``log_model`` of a version 3 of ``yolo`` in a registry; S3 gives ``sums``."""

    def run(registry: Registry, sums: bytes | Exception, **labels: Any) -> None:
        def download(uri: str, dst_path: str) -> str:
            if isinstance(sums, Exception):
                raise sums
            path = Path(dst_path) / "SHA256SUMS"
            path.write_bytes(sums)
            return str(path)

        info = SimpleNamespace(registered_model_version=3, model_id="m-1")
        monkeypatch.setattr("mlflow.models.Model.log", lambda **_: info)
        monkeypatch.setattr(mlflow, "MlflowClient", lambda: registry)
        monkeypatch.setattr(mlflow.artifacts, "download_artifacts", download)
        registry.get_model_version_download_uri = lambda *_: "s3://bucket/model"
        monkeypatch.setattr("model_wrappers.darknet.proof.prove", lambda *_, **__: proof)
        mlflow_darknet.log_model(**files_of(sources), registered_model_name="yolo", **labels)

    return run


def test_version_gets_its_digest_last_and_then_its_aliases(log: Callable[..., None]) -> None:
    registry = Registry()
    log(registry, b"", aliases=["champion"])
    steps = [name for name in registry.calls if name not in ("get_registered_model", "get_model_version")]
    assert steps[:2] == ["get_logged_model", "update_model_version"]
    assert set(steps[2:-2]) == {"set_model_version_tag"}
    assert steps[-2:] == ["set_registered_model_tag", "set_registered_model_alias"]


@pytest.mark.parametrize("step", ["get_logged_model", "update_model_version", "set_model_version_tag"])
def test_version_that_does_not_get_what_belongs_to_it_is_deleted(log: Callable[..., None], step: str) -> None:
    registry = Registry(step)
    with pytest.raises(MlflowException, match=f"{step}: the registry"):
        log(registry, b"", aliases=["champion"])
    assert registry.calls[-1] == "delete_model_version"
    assert "set_registered_model_alias" not in registry.calls


def test_version_whose_sums_cannot_be_read_is_deleted(log: Callable[..., None]) -> None:
    registry = Registry()
    with pytest.raises(OSError, match="S3 is away"):
        log(registry, OSError("S3 is away"))
    assert registry.calls[-1] == "delete_model_version"
    with pytest.raises(SumsError, match="line 1"):
        log(registry, b"no sums\n")
    assert registry.calls[-1] == "delete_model_version"


def test_version_that_can_be_neither_completed_nor_deleted_is_named_with_what_to_do(log: Callable[..., None]) -> None:
    registry = Registry("set_model_version_tag", "delete_model_version")
    with pytest.raises(mlflow_darknet.RegistrationError) as refused:
        log(registry, b"")
    assert str(refused.value) == (
        "models:/yolo/3 is in MLflow without its digest and tags (set_model_version_tag: the registry is away), and could "
        "not be deleted (delete_model_version: the registry is away): delete it with "
        "mlflow.MlflowClient().delete_model_version('yolo', '3'), then register again"
    )


def test_alias_that_cannot_be_moved_leaves_the_version_and_says_how_to_move_it(log: Callable[..., None]) -> None:
    registry = Registry("set_registered_model_alias")
    with pytest.raises(mlflow_darknet.RegistrationError) as refused:
        log(registry, b"", aliases=["champion"])
    assert "delete_model_version" not in registry.calls
    assert str(refused.value) == (
        "models:/yolo/3 is registered, but alias 'champion' could not be moved to it (set_registered_model_alias: the "
        "registry is away): move it with model_wrappers.mlflow_darknet.set_alias('yolo', 'champion', '3')"
    )


@pytest.mark.parametrize("alias", ["champion", "challenger"])
def test_move_that_is_refused_puts_the_earlier_record_back(monkeypatch: pytest.MonkeyPatch, alias: str) -> None:
    registry = Registry("set_registered_model_alias")
    monkeypatch.setattr(mlflow, "MlflowClient", lambda: registry)
    with pytest.raises(MlflowException, match="set_registered_model_alias: the registry"):
        mlflow_darknet.set_alias("yolo", alias, "3", who="ann")
    had_one = alias == "champion"
    assert registry.calls[-1] == ("set_registered_model_tag" if had_one else "delete_registered_model_tag")


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"who": " "}, "who is empty"),
        ({"who": "x" * 201}, "who has 201 characters, at most 200"),
        ({"why": "x" * 1001}, "why has 1001 characters, at most 1000"),
        ({"why": "\udcff"}, "why is not UTF-8"),
    ],
)
def test_record_that_could_not_be_written_moves_nothing(
    monkeypatch: pytest.MonkeyPatch, said: dict[str, str], message: str
) -> None:
    registry = Registry()
    monkeypatch.setattr(mlflow, "MlflowClient", lambda: registry)
    with pytest.raises(MlflowException, match=message):
        mlflow_darknet.set_alias("yolo", "champion", "3", **said)
    assert registry.calls == []


def test_tag_that_begins_like_one_of_ours_is_allowed(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_version_labels("yolo", [], {"licence-holder": "us", "proofread": "yes", "sha256": "x"})
