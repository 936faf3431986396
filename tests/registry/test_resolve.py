"""The resolver against a server that answers as MLflow should not (the real one is in the end-to-end tests)."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from slipway.registry import (
    InvalidModelUri,
    ModelNotFound,
    ModelReference,
    RegistryAddress,
    RegistryError,
    RegistryRefused,
    RegistryUnavailable,
    is_model_reference,
    parse_model_reference,
    resolve,
)
from tests.cancelling import cancel_with_its_timeout

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
URI = "models:/yolo@champion"
VERSION = {"name": "yolo", "version": "3", "tags": [{"key": "slipway.digest", "value": "sha256:" + "0" * 64}]}
FAST_S = 0.3


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[Handler], Awaitable[RegistryAddress]]]:
    """``serve(handler)`` answers every request; the address of the server."""
    runners: list[web.AppRunner] = []

    async def start(handler: Handler) -> RegistryAddress:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handler)
        runners.append(web.AppRunner(app, shutdown_timeout=0))
        await runners[-1].setup()
        site = web.TCPSite(runners[-1], "127.0.0.1", 0)
        await site.start()
        host, port = runners[-1].addresses[0][:2]
        return RegistryAddress(f"http://{host}:{port}", "reader", "password")

    yield start
    for runner in runners:
        await runner.cleanup()


Serve = Callable[[Handler], Awaitable[RegistryAddress]]


def always(status: int, body: bytes = b"{}") -> Handler:
    async def handle(_: web.Request) -> web.Response:
        return web.Response(status=status, body=body)

    return handle


async def ask(address: RegistryAddress, uri: str = URI) -> Any:
    async with aiohttp.ClientSession() as session:
        return await resolve(uri, registry=address, session=session)


async def test_resolve_sends_the_login_and_reads_version_digest_and_place(serve: Serve) -> None:
    seen: list[tuple[str, dict[str, str], str]] = []

    async def handle(request: web.Request) -> web.Response:
        seen.append((request.path, dict(request.query), request.headers["Authorization"]))
        if request.path.endswith("get-download-uri"):
            return web.json_response({"artifact_uri": "s3://models/3"})
        return web.json_response({"model_version": VERSION})

    model = await ask(await serve(handle))
    assert (model.uri, model.alias, model.source) == ("models:/yolo/3", "champion", "s3://models/3")
    assert model.digest == "sha256:" + "0" * 64
    assert [(path.rpartition("mlflow/")[2], query) for path, query, _ in seen] == [
        ("registered-models/alias", {"name": "yolo", "alias": "champion"}),
        ("model-versions/get-download-uri", {"name": "yolo", "version": "3"}),
    ]
    assert {login for *_, login in seen} == {"Basic cmVhZGVyOnBhc3N3b3Jk"}


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_resolve_takes_a_busy_or_broken_registry_as_temporary(serve: Serve, status: int) -> None:
    address = await serve(always(status, b"out of order"))
    with pytest.raises(
        RegistryUnavailable, match=f"{URI}: {address.uri} answered HTTP {status}: out of order"
    ) as error:
        await ask(address)
    assert error.value.retry_after_s


@pytest.mark.parametrize(
    ("status", "sentence"),
    [(401, "refused the login"), (403, "there is no such model, or it is not for user 'reader'")],
)
async def test_resolve_takes_a_refusal_as_permanent(serve: Serve, status: int, sentence: str) -> None:
    with pytest.raises(RegistryRefused, match=f"{sentence} \\(HTTP {status}\\)") as error:
        await ask(await serve(always(status)))
    assert error.value.retry_after_s is None
    assert "password" not in str(error.value)


@pytest.mark.parametrize("status", [400, 404])
async def test_resolve_says_what_the_registry_said_of_an_unknown_name(serve: Serve, status: int) -> None:
    body = json.dumps({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no yolo here"}).encode()
    with pytest.raises(ModelNotFound, match=f"{URI}: no yolo here"):
        await ask(await serve(always(status, body)))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"7",
        b'"text"',
        b"{}",
        b'{"model_version": 7}',
        b'{"model_version": {}}',
        b'{"model_version": {"name": "yolo", "version": "3", "tags": 7}}',
        b'{"model_version": {"name": "yolo", "version": "3", "tags": [{}]}}',
        b"\xff\xfe",
        b'{"model_version": ',
    ],
)
@pytest.mark.parametrize("status", [200, 404])
async def test_resolve_names_an_answer_that_is_not_mlflow_s(serve: Serve, body: bytes, status: int) -> None:
    address = await serve(always(status, body))
    with pytest.raises(RegistryError, match=f"^{URI}: "):
        await ask(address)


async def test_resolve_takes_a_very_long_answer_as_broken(serve: Serve) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(64):
            await response.write(b" " * (1 << 20))
        return response

    address = await serve(handle)
    with pytest.raises(RegistryUnavailable, match="longer than 1048576 bytes"):
        await ask(address)


async def test_resolve_reads_an_answer_that_comes_in_pieces(serve: Serve) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        last = request.path.endswith("get-download-uri")
        body = json.dumps({"artifact_uri": "s3://models/3"} if last else {"model_version": VERSION}).encode()
        response = web.StreamResponse()
        await response.prepare(request)
        for at in range(0, len(body), 7):
            await response.write(body[at : at + 7])
            await asyncio.sleep(0)
        return response

    assert (await ask(await serve(handle))).version == "3"


async def test_resolve_does_not_wait_for_ever(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[RegistryAddress.__module__], "REQUEST_TIMEOUT_S", FAST_S)
    hang = asyncio.Event()

    async def handle(_: web.Request) -> web.Response:
        await hang.wait()
        return web.Response()

    address = await serve(handle)
    with pytest.raises(RegistryUnavailable, match="does not answer \\(TimeoutError"):
        await ask(address)
    hang.set()


async def test_cancellation_that_comes_with_the_limit_of_a_question_is_heard(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[RegistryAddress.__module__], "REQUEST_TIMEOUT_S", FAST_S)
    asked, hang = asyncio.Event(), asyncio.Event()

    async def handle(_: web.Request) -> web.Response:
        asked.set()
        await hang.wait()
        return web.Response()

    task = asyncio.create_task(ask(await serve(handle)))
    await asked.wait()
    await cancel_with_its_timeout(task, limit_s=FAST_S)
    hang.set()


async def test_resolve_follows_no_redirect_with_the_login(serve: Serve) -> None:
    seen: list[str] = []

    async def thief(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Authorization", ""))
        return web.json_response({"model_version": VERSION})

    other = await serve(thief)

    async def handle(_: web.Request) -> web.Response:
        raise web.HTTPFound(f"{other.uri}/elsewhere")

    with pytest.raises(RegistryError, match="302"):
        await ask(await serve(handle))
    assert seen == []


async def test_registry_address_keeps_its_password_out_of_its_repr() -> None:
    address = RegistryAddress.from_env(
        {"MLFLOW_TRACKING_URI": "http://h:1/", "MLFLOW_TRACKING_USERNAME": "u", "MLFLOW_TRACKING_PASSWORD": "secret"}
    )
    assert address == RegistryAddress("http://h:1", "u", "secret")
    assert "secret" not in repr(address)
    assert RegistryAddress.from_env({}) is None


@pytest.mark.parametrize(
    ("uri", "address"),
    [
        ("https://ann:s%40fe%2F@h:1/mlflow", RegistryAddress("https://h:1/mlflow", "ann", "s@fe/")),
        ("http://ann@h", RegistryAddress("http://h", "ann")),
        ("http://h/a@b", RegistryAddress("http://h/a@b")),
        ("sqlite:///a.db", RegistryAddress("sqlite:///a.db")),
    ],
)
async def test_login_inside_the_uri_is_taken_out_of_what_is_shown(uri: str, address: RegistryAddress) -> None:
    assert RegistryAddress.from_env({"MLFLOW_TRACKING_URI": uri}) == address
    named = RegistryAddress.from_env({"MLFLOW_TRACKING_URI": uri, "MLFLOW_TRACKING_USERNAME": "bob"})
    assert named is not None
    assert (named.uri, named.username) == (address.uri, "bob")


@pytest.mark.parametrize("uri", ["http://ann:secret@127.0.0.1:1", "http://ann:secret@[::1"])
async def test_address_that_leads_nowhere_is_an_error_of_ours_without_the_password(uri: str) -> None:
    address = RegistryAddress.from_env({"MLFLOW_TRACKING_URI": uri})
    assert address is not None
    with pytest.raises(RegistryUnavailable, match="does not answer") as caught:
        await ask(address)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("uri", "reference"),
    [
        ("models:/yolo/3", ModelReference("yolo", version="3")),
        ("models:/yolo@champion", ModelReference("yolo", alias="champion")),
        ("models:/a name/3", ModelReference("a name", version="3")),
    ],
)
def test_reference_is_read(uri: str, reference: ModelReference) -> None:
    assert parse_model_reference(uri) == reference
    assert str(reference) == uri


@pytest.mark.parametrize(
    "uri",
    [
        "models:/yolo",
        "models:/yolo/",
        "models:/yolo/x",
        "models:/yolo@",
        "models:/m-0a",
        "models:/yolo/3/4",
        "models:/yo\0lo/3",
        "models:/yo\nlo@champion",
        "s3://a/b",
        "",
    ],
)
def test_reference_that_is_none_says_how_to_write_one(uri: str) -> None:
    with pytest.raises(InvalidModelUri, match="write models:/NAME@ALIAS or models:/NAME/VERSION"):
        parse_model_reference(uri)


@given(st.text(max_size=60))
def test_reference_of_any_text_is_read_or_refused(text: str) -> None:
    for uri in (text, f"models:/{text}"):
        try:
            reference = parse_model_reference(uri)
        except InvalidModelUri:
            continue
        assert is_model_reference(uri)
        assert (reference.version is None) != (reference.alias is None)
