"""The client against this repository's own servers, and against the official wrapper of Seldon Core 1.17.1."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import json
import shutil
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import cv2
import grpc
import numpy as np
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from model_wrappers.darknet import Detector
from models.shapes.evaluate import shapes_model
from scripts.demo import photo
from slipway.client import AsyncClient, Client, Detections, Refused, Tls, Unreachable
from slipway.client.forms import FORMS, GRPC_FORMS
from slipway.serving.messages import to_proto
from tests.client.servers import MESSAGE
from tests.conformance.conftest import start_official  # noqa: F401  - a fixture
from tests.executor.executors import executor
from tests.microservice.process import MicroserviceProcess

PHOTO = photo(7)
TRANSFORMER = "model_wrappers.image_transformer.ImageTransformer"
DETECTOR = "model_wrappers.yolo_detector.YoloDetector"


def pixels() -> np.ndarray:
    return np.asarray(cv2.imdecode(np.frombuffer(PHOTO, np.uint8), cv2.IMREAD_COLOR_RGB), np.uint8)


def assert_right(found: Detections) -> None:
    """What the library itself finds."""
    wanted = Detector(shapes_model(2)).detect(pixels())
    assert [one.label for one in found] == [one.label for one in wanted]
    for one, other in zip(found, wanted, strict=True):
        assert one.confidence == pytest.approx(other.confidence, abs=0.01)
        mine = (one.box.x_min, one.box.y_min, one.box.x_max, one.box.y_max)
        assert mine == pytest.approx((other.box.x_min, other.box.y_min, other.box.x_max, other.box.y_max), abs=1)
    assert found.photo is not None
    assert (found.photo.width, found.photo.height) == (256, 192)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the storage initializer leaves it."""
    folder = tmp_path_factory.mktemp("model")
    files = shapes_model(2)
    for path in (files.cfg_path, files.weights_path, files.names_path):
        shutil.copy(path, folder)
    identity = {"name": "shapes", "version": "2", "digest": "sha256:" + "ab" * 32, "uri": "models:/shapes/2"}
    (folder / ".slipway-model.json").write_text(json.dumps(identity))
    return folder


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., tuple[str, str]]]:
    """``start(interface, name=value…)``: a component; its REST and gRPC address."""
    running: list[MicroserviceProcess] = []

    def begin(interface: str, **parameters: str) -> tuple[str, str]:
        given = json.dumps([{"name": name, "value": value, "type": "STRING"} for name, value in parameters.items()])
        folder = tmp_path_factory.mktemp("component")
        running.append(MicroserviceProcess(interface, folder=folder, environment={"PREDICTIVE_UNIT_PARAMETERS": given}))
        rest, over_grpc, _ = running[-1].ready()
        return rest, over_grpc

    yield begin
    for process in running:
        process.end()


@pytest.fixture(scope="module")
def detector(start: Callable[..., tuple[str, str]], model: Path) -> tuple[str, str]:
    return start(DETECTOR, model_uri=str(model))


@pytest.mark.parametrize(
    ("transport", "form"), [*(("rest", form) for form in FORMS), *(("grpc", form) for form in GRPC_FORMS)]
)
def test_component_finds_the_same_in_every_form(detector: tuple[str, str], transport: Any, form: Any) -> None:
    address = detector[transport == "grpc"]
    with Client(f"http://{address}", transport=transport, form=form) as client:
        found = client.detect(PHOTO)
    assert_right(found)
    assert (str(found.model), found.model.digest) == ("shapes/2", "sha256:" + "ab" * 32)
    assert list(found.reply.node_ms) == ["YoloDetector"]


@pytest.mark.parametrize("transport", ["rest", "grpc"])
def test_array_and_file_and_bytes_are_one_photo(detector: tuple[str, str], transport: Any, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(PHOTO)
    with Client(f"http://{detector[transport == 'grpc']}", transport=transport) as client:
        for found in client.detect_many([PHOTO, tmp_path / "photo.jpg", pixels()]):
            assert_right(found)
        with pytest.raises(Refused) as refused:
            client.detect(PHOTO[:-500])
    assert refused.value.reason == "IMAGE_UNDECODABLE"


def endpoint(rest: str, over_grpc: str) -> dict[str, Any]:
    (host, http_port), grpc_port = rest.rsplit(":", 1), over_grpc.rsplit(":", 1)[1]
    ports = {"service_port": int(http_port), "httpPort": int(http_port), "grpcPort": int(grpc_port)}
    return {"service_host": host, **ports}


@pytest.mark.parametrize("transport", ["rest", "grpc"])
async def test_executor_says_who_answered_and_how_long_each_took(
    start: Callable[..., tuple[str, str]], detector: tuple[str, str], transport: Any
) -> None:
    eyes = await asyncio.to_thread(start, TRANSFORMER, input="192x192")
    graph = {
        "name": "eyes",
        "type": "TRANSFORMER",
        "endpoint": endpoint(*eyes),
        "children": [{"name": "yolo", "type": "MODEL", "endpoint": endpoint(*detector)}],
    }
    async with executor(graph) as running:
        address = (
            running.session._base_url.authority if transport == "rest" else running.channel._channel.target.decode()
        )
        async with AsyncClient(f"http://{address}", transport=transport) as client:
            found = await client.detect(PHOTO)
            assert_right(found)
            assert (found.predictor, str(found.model)) == ("main", "shapes/2")
            assert list(found.reply.node_ms) == ["eyes", "yolo"]
            assert len(found.reply.request_id) == 36
            await client.feedback(1.0, reply=found)


@pytest.mark.conformance
@pytest.mark.parametrize("transport", ["rest", "grpc"])
def test_official_wrapper_is_asked_the_same_way(
    start_official: Any,  # noqa: F811
    model: Path,
    transport: Any,
) -> None:
    parameters = json.dumps([{"name": "model_uri", "value": str(model), "type": "STRING"}])
    root = str(Path(__file__).resolve().parents[2])
    server = start_official(DETECTOR, model, PYTHONPATH=root, PREDICTIVE_UNIT_PARAMETERS=parameters)
    server.wait_ready()
    port = server.grpc if transport == "grpc" else server.http
    with Client(f"http://127.0.0.1:{port}", transport=transport) as client:
        found = client.detect(PHOTO)
        assert_right(found)
        assert str(found.model) == "shapes/2"
        assert (found.predictor, found.reply.node_ms) == ("", {})
        with pytest.raises(Exception, match="are no JPEG") as refused:
            client.detect(b"hello")
        client.feedback(1.0, reply=found)
    assert refused.type.__name__ in ("Refused", "Failed")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A key and its own certificate for 127.0.0.1."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = dt.datetime.now(dt.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / "tls.crt", folder / "tls.key"
    certificate_file.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8
    key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    return certificate_file, key_file


@asynccontextmanager
async def grpc_over_tls(certificate_file: Path, key_file: Path) -> AsyncIterator[str]:
    """Address of a server that wants a client's certificate."""

    async def predict(request: bytes, context: Any) -> bytes:
        return to_proto(MESSAGE).SerializeToString()

    server = grpc.aio.server()
    handlers = {"Predict": grpc.unary_unary_rpc_method_handler(predict)}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("seldon.protos.Seldon", handlers)])
    authority, key, certificate = Tls(certificate_file, certificate_file, key_file).read()
    credentials = grpc.ssl_server_credentials([(key, certificate)], authority, require_client_auth=True)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    yield f"https://127.0.0.1:{port}"
    await server.stop(0)


@asynccontextmanager
async def rest_over_tls(certificate_file: Path, key_file: Path) -> AsyncIterator[str]:
    """The same over REST."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificate_file)
    context.load_cert_chain(certificate_file, key_file)
    context.verify_mode = ssl.CERT_REQUIRED

    async def answer(_: web.Request) -> web.Response:
        return web.json_response(MESSAGE)

    app = web.Application()
    app.router.add_post("/api/v1.0/predictions", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    yield f"https://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.mark.parametrize("transport", ["rest", "grpc"])
async def test_tls_is_checked_on_both_sides(transport: Any, certificate: tuple[Path, Path]) -> None:
    certificate_file, key_file = certificate
    serve = grpc_over_tls if transport == "grpc" else rest_over_tls
    async with serve(certificate_file, key_file) as url:
        mine = Tls(ca_file=certificate_file, certificate_file=certificate_file, key_file=key_file)
        async with AsyncClient(url, transport=transport, tls=mine) as client:
            assert (await client.detect(PHOTO))[0].label == "cat"
        async with AsyncClient(url, transport=transport, attempts=1) as stranger:
            with pytest.raises(Unreachable):
                await stranger.detect(PHOTO)
