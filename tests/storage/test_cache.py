"""The cache when things go wrong: damaged records, killed and concurrent writers, a full disk, unlisted files."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from slipway.storage.__main__ import fill
from slipway.storage.cache import ModelCache
from slipway.storage.checksums import SUMS_NAME, digest_of_sums, sha256_of, sums_of_folder
from slipway.storage.errors import DigestMismatch, SourceNotFound, StorageError
from slipway.storage.fetch import Fetched, Wanted, fetch

AT_ONCE = 6


def no_progress(done: int, total: int) -> None:
    pass


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "data").mkdir(parents=True)
    (folder / "MLmodel").write_text("flavors: {}\n")
    (folder / "data" / "a.weights").write_bytes(bytes(range(256)) * 4000)
    (folder / SUMS_NAME).write_bytes(sums_of_folder(folder))
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> ModelCache:
    return ModelCache(tmp_path / "cache")


def wanted(model: Path) -> Wanted:
    return Wanted("models:/m/1", str(model), digest_of_sums((model / SUMS_NAME).read_bytes()))


def left_over(cache: ModelCache) -> list[str]:
    return sorted(path.name for path in cache.root.iterdir() if path.name.startswith("incoming"))


def test_refused_download_leaves_nothing_behind(model: Path, cache: ModelCache) -> None:
    (model / "data" / "a.weights").write_bytes(b"other")
    for _ in range(3):
        with pytest.raises(DigestMismatch):
            fetch(wanted(model), cache, progress=no_progress)
    assert left_over(cache) == []


def test_what_a_killed_download_left_goes_with_the_next_one(model: Path, cache: ModelCache) -> None:
    with cache.incoming(wanted(model).key) as incoming:
        name = incoming.name
    (cache.root / name / "half").mkdir(parents=True)
    fetched = fetch(wanted(model), cache, progress=no_progress)
    assert not (fetched.folder / "half").exists()
    assert left_over(cache) == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"digest": 7}', '{"digest": "sha256:../../etc"}'])
def test_damaged_records_only_cost_a_download(model: Path, cache: ModelCache, text: str) -> None:
    place = Wanted(str(model), str(model))
    fetched = fetch(place, cache, progress=no_progress)
    cache.point("a server", fetched.digest)
    for record in cache.root.glob("*.json"):
        record.write_text(text)
    assert cache.pointed("a server") is None
    assert cache.origin(fetched.digest) is not None
    assert fetch(place, cache, progress=no_progress).digest == fetched.digest


@pytest.mark.parametrize("digest", ["", "sha256:", "sha256:../../../tmp", "md5:" + "0" * 64, "sha256:" + "0" * 65])
def test_digest_that_is_none_is_refused_before_it_names_a_folder(digest: str) -> None:
    with pytest.raises(StorageError, match="is not sha256: and 64 hexadecimal digits"):
        Wanted("models:/m/1", "s3://b/m", digest)


def test_fill_delivers_the_listed_files_only(model: Path, cache: ModelCache, tmp_path: Path) -> None:
    fetched = fetch(wanted(model), cache, progress=no_progress)
    (fetched.folder / ".hidden.py").write_text("import os")
    (fetched.folder / "late.py").write_text("import os")
    volume = tmp_path / "volume"
    fill(volume, fetched, wanted(model))
    found = sorted(path.relative_to(volume).as_posix() for path in volume.rglob("*") if path.is_file())
    assert found == [".slipway-model.json", "MLmodel", SUMS_NAME, "data/a.weights"]


def test_fill_never_writes_into_the_cache(model: Path, cache: ModelCache, tmp_path: Path) -> None:
    """A registered file with the name of the provenance file is linked, then replaced: not written through the link."""
    (model / ".slipway-model.json").write_text("forged")
    sums = (model / SUMS_NAME).read_bytes() + sums_line(model / ".slipway-model.json")
    (model / SUMS_NAME).write_bytes(sums)
    fetched = fetch(wanted(model), cache, progress=no_progress)
    fill(tmp_path / "volume", fetched, wanted(model))
    assert (fetched.folder / ".slipway-model.json").read_text() == "forged"
    assert json.loads((tmp_path / "volume" / ".slipway-model.json").read_text())["digest"] == fetched.digest


def sums_line(path: Path) -> bytes:
    return f"{sha256_of(path)}  {path.name}\n".encode()


def test_folder_is_locked_while_it_is_used(model: Path, cache: ModelCache) -> None:
    """Another fetch of the digest, also by its place, waits until the volume is filled."""
    seen: list[bool] = []

    def use(fetched: Fetched) -> None:
        for lock in cache.root.glob("lock-*"):
            with lock.open("w") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    seen.append(True)
                else:
                    seen.append(False)

    fetch(wanted(model), cache, progress=no_progress, use=use)
    assert seen == [True]
    fetch(Wanted(str(model), str(model)), cache, progress=no_progress, use=use)
    assert seen == [True, True, True]


def test_links_to_no_file_are_refused(model: Path, cache: ModelCache) -> None:
    (model / "extra").symlink_to(model / "data", target_is_directory=True)
    with pytest.raises(SourceNotFound, match="extra is a link to no file"):
        fetch(Wanted(str(model), str(model)), cache, progress=no_progress)


def test_initializers_at_once_fill_equal_volumes(model: Path, tmp_path: Path) -> None:
    """By digest and by place, over one cache that is replaced all the time."""
    digest = wanted(model).digest or ""
    base = {**os.environ, "SLIPWAY_MODEL_CACHE": str(tmp_path / "cache"), "SLIPWAY_MODEL_SOURCE": str(model)}
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "slipway.storage", "models:/m/1", str(tmp_path / f"volume-{number}")],
            env={**base, "SLIPWAY_MODEL_DIGEST": digest if number % 2 else ""},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(AT_ONCE)
    ]
    ended = [(process.communicate(timeout=50), process.returncode) for process in running]
    assert [code for _, code in ended] == [0] * AT_ONCE, ended
    for number in range(AT_ONCE):
        assert sums_of_folder(tmp_path / f"volume-{number}") == sums_of_folder(model)
    assert left_over(ModelCache(tmp_path / "cache")) == []


def test_cache_that_cannot_be_written_is_one_line(model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    environment = {**os.environ, "SLIPWAY_MODEL_CACHE": str(tmp_path / "file" / "cache")}
    command = [sys.executable, "-m", "slipway.storage", str(model), str(tmp_path / "volume")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"failed: {model}: [Errno 20]")
    assert done.stderr.count("\n") == 1


def test_full_disk_leaves_no_half_copy(model: Path, cache: ModelCache, monkeypatch: pytest.MonkeyPatch) -> None:
    def copy(source: Path, target: Path) -> None:
        target.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))

    monkeypatch.setattr(shutil, "copyfile", copy)
    with pytest.raises(OSError, match="No space left on device"):
        fetch(wanted(model), cache, progress=no_progress)
    assert left_over(cache) == []


def model_of(tmp_path: Path, name: str) -> Wanted:
    folder = tmp_path / name
    folder.mkdir()
    (folder / "a.weights").write_bytes(name.encode() * 100)
    return Wanted(str(folder), str(folder))


def test_trim_drops_what_was_used_longest_ago_and_spares_what_is_in_use(cache: ModelCache, tmp_path: Path) -> None:
    one, two, three = (fetch(model_of(tmp_path, name), cache, progress=no_progress).digest for name in ("a", "b", "c"))
    for place, digest in enumerate((one, two, three)):
        os.utime(cache.folder(digest).with_name(f"{digest.replace(':', '-')}.json"), (place, place))
    cache.touch(one)
    with cache.lock(two):
        cache.trim(0)
    assert [cache.origin(digest) is None for digest in (one, two, three)] == [True, False, True]
    cache.trim(10**6)
    assert cache.origin(two) is not None


def test_trim_drops_the_oldest_first_and_no_more_than_needed(cache: ModelCache, tmp_path: Path) -> None:
    one, two = (fetch(model_of(tmp_path, name), cache, progress=no_progress).digest for name in ("a", "b"))
    for place, digest in enumerate((two, one)):
        os.utime(cache.folder(digest).with_name(f"{digest.replace(':', '-')}.json"), (place, place))
    cache.touch(two)
    cache.trim(300)
    assert [cache.origin(digest) is None for digest in (one, two)] == [True, False]


def test_trim_drops_what_killed_downloads_left_but_not_one_under_way(cache: ModelCache) -> None:
    with cache.lock("dead"), cache.incoming("dead") as incoming:
        dead = incoming
    dead.mkdir()
    with cache.lock("alive"), cache.incoming("alive") as alive:
        cache.trim()
        assert alive.is_dir()
    assert not dead.exists()
