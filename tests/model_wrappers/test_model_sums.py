from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from model_wrappers import model_sums
from model_wrappers.model_sums import (
    DOWNLOAD_NOTE,
    SUMS_NAME,
    SumsError,
    parse_sums,
    read_sums,
    refuse_unlisted,
    sums_of_folder,
    verify_listed,
)
from slipway.storage import checksums
from slipway.storage.errors import DigestMismatch


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "yolo"
    (folder / "data").mkdir(parents=True)
    (folder / "MLmodel").write_text("flavors: {}\n")
    (folder / "data" / "a b.weights").write_bytes(bytes(300))
    (folder / SUMS_NAME).write_text(sums_of_folder(folder))
    return folder


def test_sums_are_those_that_the_storage_initializer_computes(folder: Path) -> None:
    for name in (".slipway-model.json", "data/.hidden", f"data/{SUMS_NAME}", DOWNLOAD_NOTE):
        (folder / name).write_text("more")
    sums = sums_of_folder(folder).encode()
    assert sums == checksums.sums_of_folder(folder)
    assert model_sums.digest_of_sums(sums) == checksums.digest_of_sums(sums)
    assert parse_sums(sums, path=folder) == checksums.parse_sums(sums)


def test_verify_answers_what_is_listed(folder: Path) -> None:
    assert verify_listed(folder) == {
        "MLmodel": hashlib.sha256(b"flavors: {}\n").hexdigest(),
        "data/a b.weights": hashlib.sha256(bytes(300)).hexdigest(),
    }


def test_verify_names_the_file_with_both_digests(folder: Path) -> None:
    (folder / "data" / "a b.weights").write_bytes(b"other")
    with pytest.raises(SumsError, match=r"data/a b\.weights: expected sha256:[0-9a-f]{64}, found sha256:[0-9a-f]{64}$"):
        verify_listed(folder)


def test_verify_names_a_missing_file_and_a_missing_list(folder: Path) -> None:
    (folder / "MLmodel").unlink()
    with pytest.raises(SumsError, match="MLmodel: is listed in SHA256SUMS but is not there"):
        verify_listed(folder)
    (folder / SUMS_NAME).unlink()
    with pytest.raises(SumsError, match="SHA256SUMS: is not there"):
        verify_listed(folder)


def test_unlisted_file_is_refused_but_mlflows_note_and_pythons_caches_are_not(folder: Path) -> None:
    listed = verify_listed(folder)
    (folder / DOWNLOAD_NOTE).write_text("model_name: yolo\n")
    (folder / "code" / "__pycache__").mkdir(parents=True)
    (folder / "code" / "__pycache__" / "x.pyc").write_bytes(b"")
    refuse_unlisted(folder, listed)
    (folder / "data" / DOWNLOAD_NOTE).write_text("elsewhere it is none")
    with pytest.raises(SumsError, match=f"data/{DOWNLOAD_NOTE}: is there but is not listed"):
        refuse_unlisted(folder, listed)


DIGEST = "0" * 64


@pytest.mark.parametrize(
    "line",
    [
        "",
        "x",
        f"{DIGEST[1:]}  a",
        f"{DIGEST} a",
        f"{DIGEST}  ",
        f"{DIGEST}  /etc/passwd",
        f"{DIGEST}  a/../../b",
        "\udcff",
    ],
)
def test_line_that_is_no_digest_and_path_within_is_refused(tmp_path: Path, line: str) -> None:
    data = f"{DIGEST}  good\n{line}\n".encode(errors="surrogateescape")
    with pytest.raises(SumsError, match=r"SHA256SUMS: line 2: '<64 hex digits>  <relative path>' is expected"):
        parse_sums(data, path=tmp_path / SUMS_NAME)


def test_list_that_is_too_large_is_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = (folder / SUMS_NAME).stat().st_size
    monkeypatch.setattr(model_sums, "MAX_SUMS_BYTES", whole)
    assert len(read_sums(folder / SUMS_NAME)) == whole
    monkeypatch.setattr(model_sums, "MAX_SUMS_BYTES", whole - 1)
    with pytest.raises(SumsError, match=f"SHA256SUMS: is larger than {whole - 1} bytes"):
        verify_listed(folder)


def test_path_that_stands_twice_is_refused(tmp_path: Path) -> None:
    line = f"{'0' * 64}  data/a\n"
    twice = (line + line.replace("data/a", "data/./a")).encode()
    with pytest.raises(SumsError, match="line 2: 'data/a' stands twice"):
        parse_sums(twice, path=tmp_path / SUMS_NAME)
    with pytest.raises(DigestMismatch, match="SHA256SUMS:2: 'data/a' stands twice"):
        checksums.parse_sums(twice)
