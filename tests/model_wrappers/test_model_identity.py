from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from model_wrappers.model_identity import (
    IDENTITY_NAME,
    MAX_IDENTITY_BYTES,
    ModelIdentity,
    folder_digest,
    load_identity,
)
from model_wrappers.model_sums import MAX_SUMS_BYTES, SumsError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "yolo"
    (folder / "data").mkdir(parents=True)
    (folder / "b.txt").write_text("b")
    (folder / "data" / "a.txt").write_text("a")
    return folder


def _digest(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


SUMS = "".join(
    f"{hashlib.sha256(name.encode()).hexdigest()}  {path}\n" for name, path in (("b", "b.txt"), ("a", "data/a.txt"))
)


def test_identity_is_what_the_initializer_wrote(folder: Path) -> None:
    facts = {"name": "yolo", "version": "3", "digest": "sha256:ab", "uri": "models:/yolo/3"}
    (folder / IDENTITY_NAME).write_text(json.dumps(facts | {"more": 1}))
    assert load_identity(folder).to_json() == facts


def test_identity_without_initializer_is_the_folder(folder: Path) -> None:
    assert load_identity(folder) == ModelIdentity("yolo", "", _digest(SUMS), folder.as_uri())


def test_digest_is_the_same_with_and_without_the_sums_file(folder: Path) -> None:
    computed = folder_digest(folder)
    (folder / "SHA256SUMS").write_text(SUMS)
    (folder / IDENTITY_NAME).write_text("{}")
    assert folder_digest(folder) == computed == _digest(SUMS)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "[" * 60_000, '{"name": 1, "version": "", "digest": "", "uri": ""}', "\udcff"]
)
def test_broken_identity_is_refused(folder: Path, text: str) -> None:
    (folder / IDENTITY_NAME).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ValueError, match=IDENTITY_NAME):
        load_identity(folder)


@pytest.mark.parametrize("excess", [0, 1])
def test_identity_is_read_up_to_its_limit_and_called_too_large_beyond(folder: Path, excess: int) -> None:
    facts = {"name": "yolo", "version": "3", "digest": "sha256:ab", "uri": "models:/yolo/3"}
    text = json.dumps(facts)
    (folder / IDENTITY_NAME).write_text(text + " " * (MAX_IDENTITY_BYTES - len(text) + excess))
    if excess:
        with pytest.raises(ValueError, match=f"{IDENTITY_NAME}: is larger than 65,536 bytes"):
            load_identity(folder)
    else:
        assert load_identity(folder).to_json() == facts


def test_digest_of_a_sums_file_that_is_too_large_is_refused(folder: Path) -> None:
    with (folder / "SHA256SUMS").open("wb") as file:
        file.truncate(MAX_SUMS_BYTES + 1)
    with pytest.raises(SumsError, match="SHA256SUMS: is larger than"):
        folder_digest(folder)
