from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from model_wrappers.model_identity import IDENTITY_NAME, ModelIdentity, folder_digest, load_identity


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


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"name": 1, "version": "", "digest": "", "uri": ""}', "\udcff"])
def test_broken_identity_is_refused(folder: Path, text: str) -> None:
    (folder / IDENTITY_NAME).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ValueError, match=IDENTITY_NAME):
        load_identity(folder)
