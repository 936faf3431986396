"""The storage initializer and the registry's resolver against the real Swift and the real MLflow."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from slipway.onebox.services.credentials import load_model_credentials, reader, render_credentials
from slipway.onebox.services.secrets import ensure_secrets
from slipway.onebox.settings import load_settings
from slipway.registry import ModelNotFound, RegistryAddress, RegistryRefused, RegistryUnavailable, resolve
from slipway.storage.cache import ModelCache
from slipway.storage.checksums import SUMS_NAME, digest_of_sums, sums_of_folder
from slipway.storage.errors import DigestMismatch, SourceNotFound, StorageError, StorageUnavailable
from slipway.storage.fetch import Fetched, Wanted, fetch
from tests.e2e.platform import Platform
from tests.e2e.s3 import client as s3_client
from tests.ports import free_ports

BUCKET = "slipway-models"
PREFIX = "tests/storage"
SOURCE = f"s3://{BUCKET}/{PREFIX}"


def no_progress(done: int, total: int) -> None:
    pass


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "data").mkdir(parents=True)
    (folder / "MLmodel").write_text("flavors: {}\n")
    (folder / "data" / "a b.weights").write_bytes(bytes(range(256)) * 5000)
    (folder / SUMS_NAME).write_bytes(sums_of_folder(folder))
    return folder


@pytest.fixture
def s3(platform: Platform, model: Path) -> Iterator[Any]:
    """The registrar's client; the model's files are in the bucket, and go afterwards."""
    client = s3_client(load_model_credentials(platform.paths))
    for path in model.rglob("*"):
        if path.is_file():
            put(client, path.relative_to(model).as_posix(), path.read_bytes())
    yield client
    for item in client.list_objects_v2(Bucket=BUCKET, Prefix=f"{PREFIX}/").get("Contents", []):
        client.delete_object(Bucket=BUCKET, Key=item["Key"])
    client.close()


@pytest.fixture
def keys(platform: Platform) -> Mapping[str, str]:
    """What a Pod gets."""
    return render_credentials(load_settings(platform.paths.settings), reader(ensure_secrets(platform.paths.secrets)))


@pytest.fixture
def cache(tmp_path: Path, s3: Any, keys: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> ModelCache:
    for name, value in keys.items():
        monkeypatch.setenv(name, value)
    return ModelCache(tmp_path / "cache")


@pytest.fixture
def wanted(model: Path) -> Wanted:
    return Wanted("models:/stored/1", SOURCE, digest_of_sums((model / SUMS_NAME).read_bytes()))


def put(client: Any, name: str, body: bytes) -> None:
    client.put_object(Bucket=BUCKET, Key=f"{PREFIX}/{name}", Body=body)


def load(wanted: Wanted, cache: ModelCache) -> Fetched:
    return fetch(wanted, cache, progress=no_progress)


def test_s3_folder_is_downloaded_once(cache: ModelCache, wanted: Wanted, model: Path) -> None:
    first, second = load(wanted, cache), load(wanted, cache)
    assert first.note.startswith("downloaded 1,280,")
    assert second.note == "from the verified cache"
    assert sums_of_folder(second.folder) == sums_of_folder(model)


def test_changed_object_is_refused_although_the_cache_is_good(cache: ModelCache, wanted: Wanted, s3: Any) -> None:
    load(wanted, cache)
    put(s3, "data/a b.weights", b"other")
    with pytest.raises(
        DigestMismatch, match="data/a b.weights: expected sha256:[0-9a-f]{64}, found sha256:[0-9a-f]{64}"
    ):
        load(wanted, cache)


@pytest.mark.parametrize("name", ["data/a b.weights", SUMS_NAME])
def test_missing_object_is_refused_although_the_cache_is_good(
    cache: ModelCache, wanted: Wanted, s3: Any, name: str
) -> None:
    load(wanted, cache)
    s3.delete_object(Bucket=BUCKET, Key=f"{PREFIX}/{name}")
    if name == SUMS_NAME:  # the same files give the same list: nothing of the model is missing
        assert load(wanted, cache).digest == wanted.digest
        return
    with pytest.raises(DigestMismatch, match="is listed in SHA256SUMS but is not there"):
        load(wanted, cache)


def test_repaired_object_needs_no_download(cache: ModelCache, wanted: Wanted, s3: Any, model: Path) -> None:
    load(wanted, cache)
    put(s3, "MLmodel", b"other")
    with pytest.raises(DigestMismatch):
        load(wanted, cache)
    put(s3, "MLmodel", (model / "MLmodel").read_bytes())
    assert load(wanted, cache).note == "from the verified cache"


def test_damaged_cache_is_downloaded_again(cache: ModelCache, wanted: Wanted, model: Path) -> None:
    damaged = load(wanted, cache).folder / "data" / "a b.weights"
    damaged.chmod(0o644)
    damaged.write_bytes(b"damaged")
    again = load(wanted, cache)
    assert again.note.startswith("downloaded")
    assert sums_of_folder(again.folder) == sums_of_folder(model)


def test_folder_markers_are_no_files_and_unlisted_ones_are_refused(cache: ModelCache, wanted: Wanted, s3: Any) -> None:
    put(s3, "", b"")
    put(s3, "data/", b"")
    load(wanted, cache)
    put(s3, "data/late.py", b"import os")
    with pytest.raises(DigestMismatch, match="data/late.py is there but not listed"):
        load(wanted, cache)


def test_store_that_is_away_is_told_from_one_that_refuses(
    cache: ModelCache, wanted: Wanted, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(wanted, cache)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_ports(1)[0]}")
    assert load(wanted, cache).note.startswith("from the verified cache; the store is away")
    with pytest.raises(StorageUnavailable):
        load(wanted, ModelCache(cache.root / "empty"))


def test_wrong_key_is_refused_without_the_cache(
    cache: ModelCache, wanted: Wanted, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(wanted, cache)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(StorageError, match="SignatureDoesNotMatch") as error:
        load(wanted, cache)
    assert not isinstance(error.value, StorageUnavailable)


def test_nothing_at_the_place_is_said(cache: ModelCache) -> None:
    with pytest.raises(SourceNotFound, match="nothing there"):
        load(Wanted("models:/none/1", f"s3://{BUCKET}/tests/none"), cache)


def test_reader_cannot_write(keys: Mapping[str, str], s3: Any) -> None:
    client = s3_client(keys)
    with pytest.raises(client.exceptions.ClientError, match="AccessDenied"):
        put(client, "MLmodel", b"other")
    client.close()


def test_initializer_resolves_a_registered_name_by_itself(
    platform: Platform, keys: Mapping[str, str], tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "slipway.storage", "models:/shapes/1", str(tmp_path / "volume")],
        env={**platform.environment, **keys, "SLIPWAY_MODEL_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("models:/shapes/1: sha256:")
    assert sums_of_folder(tmp_path / "volume") == (tmp_path / "volume" / SUMS_NAME).read_bytes()


@pytest.fixture
def registry(keys: Mapping[str, str]) -> RegistryAddress:
    address = RegistryAddress.from_env(keys)
    assert address is not None
    return address


async def test_resolve_names_version_digest_and_place(registry: RegistryAddress) -> None:
    async with aiohttp.ClientSession() as session:
        by_alias = await resolve("models:/shapes@champion", registry=registry, session=session)
        by_version = await resolve("models:/shapes/1", registry=registry, session=session)
    assert (by_alias.name, by_alias.version, by_alias.alias) == ("shapes", "1", "champion")
    assert by_alias.digest == by_version.digest is not None
    assert by_alias.source == by_version.source
    assert by_alias.source.startswith(f"s3://{BUCKET}/")


@pytest.mark.parametrize("uri", ["models:/none/1", "models:/shapes/99", "models:/shapes@none"])
async def test_resolve_of_what_is_not_registered_names_it(registry: RegistryAddress, uri: str) -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises((ModelNotFound, RegistryRefused), match=f"^{uri}: .*(not found|no such model)"):
            await resolve(uri, registry=registry, session=session)


async def test_resolve_with_a_wrong_password_is_refused(registry: RegistryAddress) -> None:
    wrong = RegistryAddress(registry.uri, registry.username, "wrong")
    async with aiohttp.ClientSession() as session:
        with pytest.raises(RegistryRefused, match="refused the login"):
            await resolve("models:/shapes/1", registry=wrong, session=session)


async def test_resolve_without_a_registry_is_temporary(registry: RegistryAddress) -> None:
    nowhere = RegistryAddress(f"http://127.0.0.1:{free_ports(1)[0]}")
    async with aiohttp.ClientSession() as session:
        with pytest.raises(RegistryUnavailable, match="does not answer"):
            await resolve("models:/shapes/1", registry=nowhere, session=session)
