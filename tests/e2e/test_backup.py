"""A platform into a file while models are registered, and a second one made of it beside the first, on other ports."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from scripts.demo import photo
from slipway.onebox.services.credentials import load_model_credentials
from slipway.registry import RegistryAddress, resolve
from slipway.registry.rest import ask
from tests.e2e import guest
from tests.e2e.conftest import home_for, remove_made_home
from tests.e2e.platform import Platform
from tests.e2e.s3 import client as s3_client
from tests.waiting import wait_until

BUCKET = "slipway-models"
LOAD = "registered-meanwhile"
PAGE = 1000
SERVES_WITHIN_S = 120.0
READER = "restored-reader"
NOTEBOOK = '{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'


def registry(platform: Platform) -> RegistryAddress:
    address = RegistryAddress.from_env(load_model_credentials(platform.paths))
    assert address is not None
    return address


async def read(platform: Platform, path: str, what: str) -> list[dict[str, Any]]:
    """Everything that MLflow lists there."""
    async with aiohttp.ClientSession() as session:
        answer = await ask(path, {"max_results": str(PAGE)}, registry=registry(platform), session=session, subject=what)
    found: list[dict[str, Any]] = answer.get(what, [])
    assert len(found) < PAGE
    return found


@contextmanager
def s3(platform: Platform) -> Iterator[Any]:
    client = s3_client(load_model_credentials(platform.paths))
    yield client
    client.close()


@dataclass
class Registrar:
    """Uploads, registers and signs one version after the other, as `slipway model register` does, until it is stopped."""

    platform: Platform
    versions: int = 0
    error: BaseException | None = None
    _stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        try:
            asyncio.run(self._register())
        except BaseException as error:
            self.error = error
            raise

    def stop(self) -> None:
        self._stop.set()

    async def _register(self) -> None:
        with s3(self.platform) as store:
            async with aiohttp.ClientSession() as session:

                async def write(path: str, **fields: Any) -> dict[str, Any]:
                    return await ask(
                        path, fields, registry=registry(self.platform), session=session, subject=LOAD, method="POST"
                    )

                await write("registered-models/create", name=LOAD)
                while not self._stop.is_set():
                    await self._one(store, write)
                    self.versions += 1

    async def _one(self, store: Any, write: Any) -> None:
        folder = f"{LOAD}/{self.versions}"
        content = f"weights of {self.versions}".encode() * 1000
        sums = f"{hashlib.sha256(content).hexdigest()}  model.weights\n".encode()
        for name, body in (("model.weights", content), ("SHA256SUMS", sums)):
            await asyncio.to_thread(store.put_object, Bucket=BUCKET, Key=f"{folder}/{name}", Body=body)
        made = await write("model-versions/create", name=LOAD, source=f"s3://{BUCKET}/{folder}")
        digest = f"sha256:{hashlib.sha256(sums).hexdigest()}"
        version = made["model_version"]["version"]
        await write("model-versions/set-tag", name=LOAD, version=version, key="slipway.digest", value=digest)


async def forget(platform: Platform) -> None:
    async with aiohttp.ClientSession() as session:
        address = registry(platform)
        await ask(
            "registered-models/delete", {"name": LOAD}, registry=address, session=session, subject=LOAD, method="DELETE"
        )


@dataclass(frozen=True)
class Restored:
    """``before``: what was there when the backup began; ``registered``: how many versions when it began and ended."""

    old: Platform
    new: Platform
    before: dict[str, Any]
    registered: tuple[int, int]
    said: str


async def look(platform: Platform) -> dict[str, Any]:
    return {
        "models": await read(platform, "registered-models/search", "registered_models"),
        "versions": await read(platform, "model-versions/search", "model_versions"),
        "answers": await answers(platform),
        "sdep": platform.get("sdep", "yolo"),
        "objects": objects(platform),
    }


async def answers(platform: Platform) -> dict[str, Any]:
    """Both models' detections in the same photo."""
    found: dict[str, Any] = {}
    while len(found) < 2:
        answer = await guest.over_rest(platform, photo(0), name="yolo", namespace="default")
        found[answer.model] = answer.body["detections"]
    return found


def in_order(value: Any) -> Any:
    """Lists of JSON sorted: MLflow gives tags and aliases as the database does, in any order."""
    if isinstance(value, dict):
        return {key: in_order(item) for key, item in value.items()}
    return sorted(map(in_order, value), key=str) if isinstance(value, list) else value


def objects(platform: Platform) -> dict[str, str]:
    """Key → ETag of every model's and report's file."""
    with s3(platform) as store:
        pages = store.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        return {item["Key"]: item["ETag"] for page in pages for item in page.get("Contents", ())}


@pytest.fixture(scope="module")
def restored(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Restored]:
    home = platform.paths.hub_home(READER)
    home.mkdir(parents=True)
    (home / "notes.ipynb").write_text(NOTEBOOK)
    before = asyncio.run(look(platform))
    file = tmp_path_factory.mktemp("backup") / "slipway.tar.gz"
    registrar = Registrar(platform)
    thread = threading.Thread(target=registrar.run)
    thread.start()
    try:
        wait_until(lambda: registrar.versions > 2 or registrar.error, timeout_s=60, what="models are registered")
        began = registrar.versions
        said = platform.slipway("backup", str(file))
        ended = registrar.versions
    finally:
        registrar.stop()
        thread.join()
        shutil.rmtree(home)
        asyncio.run(forget(platform))
    assert registrar.error is None
    new = Platform.on_free_ports(home_for(tmp_path_factory))
    try:
        new.slipway("restore", str(file))
        file.unlink()
        new.up()
        yield Restored(platform, new, before, (began, ended), said)
    finally:
        new.down()
        remove_made_home(new.home)


async def test_first_prediction_of_the_restored_platform_is_the_same(restored: Restored) -> None:
    first = await guest.eventually_over_rest(
        restored.new, photo(0), name="yolo", namespace="default", timeout_s=SERVES_WITHIN_S
    )
    assert first.body["detections"] == restored.before["answers"][first.model]
    restored.new.wait_available("yolo")
    assert await answers(restored.new) == restored.before["answers"]


def test_objects_are_the_same_and_nothing_was_applied_anew(restored: Restored) -> None:
    old, new = restored.before["sdep"], restored.new.get("sdep", "yolo")
    assert new["spec"] == old["spec"]
    assert new["status"]["models"] == old["status"]["models"]
    kept = ("uid", "generation", "creationTimestamp")
    assert [new["metadata"][name] for name in kept] == [old["metadata"][name] for name in kept]


async def test_models_aliases_versions_and_reports_are_the_same(restored: Restored) -> None:
    def others(items: list[dict[str, Any]]) -> Any:
        return in_order([item for item in items if item["name"] != LOAD])

    models = await read(restored.new, "registered-models/search", "registered_models")
    versions = await read(restored.new, "model-versions/search", "model_versions")
    assert others(models) == others(restored.before["models"])
    assert others(versions) == others(restored.before["versions"])
    assert any(model.get("aliases") for model in models)
    assert restored.before["objects"].items() <= objects(restored.new).items()


async def place_of(platform: Platform, version: dict[str, Any]) -> tuple[str, str, str | None]:
    """Bucket, folder and digest, as the controller finds them."""
    uri = f"models:/{version['name']}/{version['version']}"
    async with aiohttp.ClientSession() as session:
        found = await resolve(uri, registry=registry(platform), session=session)
    source = urlsplit(found.source)
    return source.netloc, source.path.strip("/"), found.digest


async def test_every_version_that_was_registered_meanwhile_has_its_files(restored: Restored) -> None:
    versions = await read(restored.new, "model-versions/search", "model_versions")
    began, ended = restored.registered
    load = [version for version in versions if version["name"] == LOAD]
    assert ended > began
    assert began <= len(load) <= ended + 1
    unsigned = 0
    with s3(restored.new) as store:
        for version in versions:
            bucket, folder, digest = await place_of(restored.new, version)
            sums = store.get_object(Bucket=bucket, Key=f"{folder}/SHA256SUMS")["Body"].read()
            unsigned += digest is None  # the dump came between its registration and its signature
            assert digest in (None, f"sha256:{hashlib.sha256(sums).hexdigest()}")
            for line in sums.decode().splitlines():
                expected, name = line.split("  ", 1)
                content = store.get_object(Bucket=bucket, Key=f"{folder}/{name}")["Body"].read()
                assert hashlib.sha256(content).hexdigest() == expected, f"{folder}/{name}"
    assert unsigned <= 1


def test_hub_users_files_are_there(restored: Restored) -> None:
    assert (restored.new.paths.hub_home(READER) / "notes.ipynb").read_text() == NOTEBOOK


def test_no_environment_was_made_anew(restored: Restored) -> None:
    assert "installing" not in (restored.new.paths.logs / "images.log").read_text()
    assert "it holds this platform's secrets" in restored.said


@pytest.mark.data
def test_next_version_can_be_registered_on_the_restored_platform(restored: Restored) -> None:
    assert guest.register(restored.new)["version"] == "1"
