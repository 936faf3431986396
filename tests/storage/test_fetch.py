"""Model folders into the verified cache, from file:// (S3 is in the end-to-end tests)."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_wrappers import model_sums
from slipway.storage import fetch as fetching
from slipway.storage.cache import ModelCache
from slipway.storage.checksums import DOWNLOAD_NOTE, SUMS_NAME, digest_of_sums, parse_sums, sums_of_folder
from slipway.storage.errors import DigestMismatch, SourceNotFound, StorageError, UnsupportedUri
from slipway.storage.fetch import Wanted, fetch


def no_progress(done: int, total: int) -> None:
    pass


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "data").mkdir(parents=True)
    (folder / "MLmodel").write_text("flavors: {}\n")
    (folder / "data" / "a.weights").write_bytes(b"\0" * 1000)
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> ModelCache:
    return ModelCache(tmp_path / "cache")


def test_fetch_of_a_folder_is_verified_and_read_only(model: Path, cache: ModelCache) -> None:
    fetched = fetch(Wanted(f"file://{model}", f"file://{model}"), cache, progress=no_progress)
    assert fetched.digest == digest_of_sums(sums_of_folder(model))
    assert (fetched.folder / "data" / "a.weights").stat().st_mode & 0o222 == 0


def test_fetch_refuses_other_bytes_and_names_both_digests(model: Path, cache: ModelCache) -> None:
    (model / "SHA256SUMS").write_bytes(sums_of_folder(model))
    good = sums_of_folder(model)
    body = bytearray((model / "data" / "a.weights").read_bytes())
    body[500] ^= 1
    (model / "data" / "a.weights").write_bytes(body)
    found, expected = hashlib.sha256(body).hexdigest(), hashlib.sha256(b"\0" * 1000).hexdigest()
    with pytest.raises(DigestMismatch, match=f"data/a.weights: expected sha256:{expected}, found sha256:{found}"):
        fetch(Wanted("models:/m/1", f"file://{model}", digest_of_sums(good)), cache, progress=no_progress)


def test_fetch_refuses_a_folder_that_is_consistent_but_not_the_registered_one(model: Path, cache: ModelCache) -> None:
    wanted = Wanted("models:/m/1", f"file://{model}", "sha256:" + "0" * 64)
    with pytest.raises(DigestMismatch, match="registered as sha256:0{64}, file://.* holds sha256:[0-9a-f]{64}"):
        fetch(wanted, cache, progress=no_progress)


def test_fetch_refuses_a_file_that_the_list_does_not_know(model: Path, cache: ModelCache) -> None:
    (model / "SHA256SUMS").write_bytes(sums_of_folder(model))
    (model / "data" / "evil.py").write_text("import os")
    with pytest.raises(DigestMismatch, match="data/evil.py is there but not listed"):
        fetch(Wanted("models:/m/1", f"file://{model}"), cache, progress=no_progress)


def test_fetch_takes_a_folder_that_mlflow_downloaded_and_leaves_its_note_behind(model: Path, cache: ModelCache) -> None:
    (model / "SHA256SUMS").write_bytes(sums_of_folder(model))
    digest = digest_of_sums(sums_of_folder(model))
    (model / DOWNLOAD_NOTE).write_text("model_name: m\nmodel_version: '1'\n")
    fetched = fetch(Wanted("models:/m/1", f"file://{model}", digest), cache, progress=no_progress)
    assert fetched.digest == digest
    assert not (fetched.folder / DOWNLOAD_NOTE).exists()
    assert (model / DOWNLOAD_NOTE).is_file()
    (model / "data" / DOWNLOAD_NOTE).touch()
    with pytest.raises(DigestMismatch, match=f"data/{DOWNLOAD_NOTE} is there but not listed"):
        fetch(Wanted("models:/m/1", f"file://{model}", digest), cache, progress=no_progress)


def test_fetch_refuses_a_folder_that_holds_the_cache(model: Path) -> None:
    for root in (model, model / "deep" / "cache"):
        with pytest.raises(UnsupportedUri, match="the model cache .* lies in it"):
            fetch(Wanted("models:/m/1", f"file://{model}"), ModelCache(root), progress=no_progress)


def test_model_that_does_not_fit_is_refused_before_a_byte_is_written(model: Path, cache: ModelCache) -> None:
    with (model / "sparse.bin").open("wb") as file:
        file.truncate(2**43)
    wanted = Wanted(f"file://{model}", f"file://{model}")
    with pytest.raises(
        StorageError, match=r"has 8,796,093,\d+,\d+ bytes; the disk of the model cache .* has [\d,]+ left"
    ):
        fetch(wanted, cache, progress=no_progress)
    assert not list(cache.root.glob("incoming-*"))


def test_folder_of_more_files_than_a_model_has_is_refused(model: Path, cache: ModelCache, monkeypatch: Any) -> None:
    monkeypatch.setattr(fetching, "MAX_FILES", 1)
    with pytest.raises(StorageError, match="holds more than 1 files: the folder of one model is expected"):
        fetch(Wanted(str(model), str(model)), cache, progress=no_progress)


def test_note_of_mlflow_has_one_name_in_storage_and_flavour() -> None:
    assert (DOWNLOAD_NOTE, SUMS_NAME) == (model_sums.DOWNLOAD_NOTE, model_sums.SUMS_NAME)


def test_fetch_names_the_schemes_it_reads(cache: ModelCache) -> None:
    with pytest.raises(UnsupportedUri, match="these can: models:/NAME/VERSION"):
        fetch(Wanted("ftp://x/y", "ftp://x/y"), cache, progress=no_progress)


def test_fetch_of_a_missing_folder_says_so(cache: ModelCache) -> None:
    with pytest.raises(SourceNotFound, match="is not a folder"):
        fetch(Wanted("file:///nowhere", "file:///nowhere"), cache, progress=no_progress)


@pytest.mark.parametrize("line", ["x", f"{'0' * 64}  /etc/passwd", f"{'0' * 64}  a/../../b", f"{'0' * 63}  a"])
def test_sums_line_that_is_no_pair_or_leaves_the_folder_is_refused(line: str) -> None:
    with pytest.raises(DigestMismatch, match="SHA256SUMS:1"):
        parse_sums(f"{line}\n".encode())


@given(st.binary(max_size=300))
def test_sums_of_any_bytes_parse_or_are_refused(sums: bytes) -> None:
    try:
        files = parse_sums(sums)
    except DigestMismatch:
        return
    assert all(len(digest) == 64 for digest in files.values())


def test_initializer_fills_the_volume_and_says_what_it_is(model: Path, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "SLIPWAY_MODEL_CACHE": str(tmp_path / "cache"),
        "SLIPWAY_MODEL_SOURCE": f"file://{model}",
    }
    volume = tmp_path / "volume"
    command = [sys.executable, "-m", "slipway.storage", "models:/yolo/3", str(volume)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    provenance = json.loads((volume / ".slipway-model.json").read_text())
    assert provenance == {
        "name": "yolo",
        "version": "3",
        "digest": digest_of_sums(sums_of_folder(model)),
        "uri": "models:/yolo/3",
    }
    assert "copied from" in done.stdout
    assert (volume / "data" / "a.weights").read_bytes() == b"\0" * 1000
    (volume / "data" / "a.weights").chmod(0o644)
    (volume / "data" / "a.weights").write_bytes(b"bad")  # the cache shares the inode
    again = subprocess.run(
        [*command[:-1], str(tmp_path / "second")], env=environment, capture_output=True, text=True, check=False
    )
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "second" / "data" / "a.weights").read_bytes() == b"\0" * 1000


def test_initializer_refuses_in_one_line(tmp_path: Path) -> None:
    environment = {**os.environ, "SLIPWAY_MODEL_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-m", "slipway.storage", "file:///nowhere", str(tmp_path / "volume")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "refused: file:///nowhere: /nowhere is not a folder\n"
