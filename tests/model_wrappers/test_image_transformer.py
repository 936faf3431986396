"""Photos in every form that a client may send them."""

from __future__ import annotations

import base64
import contextlib
import http.server
import ipaddress
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_wrappers import wire
from model_wrappers.errors import ComponentError
from model_wrappers.image_transformer import ImageTransformer
from model_wrappers.intake import fetch
from model_wrappers.intake.fetch import fetch_photo, is_public
from model_wrappers.tutorial_response import TutorialResponse
from tests.model_wrappers.test_intake import HEIGHT, WIDTH, encoded, quarters
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def transformer() -> Iterator[ImageTransformer]:
    transformer = ImageTransformer(input="32x32")
    transformer.load()
    yield transformer
    transformer._pool.close()


TEXT = base64.b64encode(encoded("PNG")).decode()


@pytest.mark.parametrize(
    "X",
    [
        encoded("PNG"),
        bytearray(encoded("PNG")),
        TEXT,
        f"data:image/png;base64,{TEXT}",
        TEXT[:40] + "\n" + TEXT[40:],
        {"image": TEXT},
        {"b64": TEXT},
        quarters(),
        quarters()[np.newaxis],
        quarters().astype(float),
    ],
    ids=["bytes", "bytearray", "base64", "data-url", "wrapped", "json", "json-b64", "array", "batch-of-one", "floats"],
)
def test_photo_in_any_form_gives_one_record(transformer: ImageTransformer, X: object) -> None:
    size, pixels = wire.decode(transformer.transform_input(X, []))
    assert size == (WIDTH, HEIGHT)
    assert pixels.shape == (32, 32, 3)
    assert pixels[10, 8].tolist() == [255, 0, 0]


@pytest.mark.parametrize(
    ("X", "reason"),
    [
        (b"", "IMAGE_MISSING"),
        ("", "IMAGE_MISSING"),
        (None, "IMAGE_MISSING"),
        ({"photograph": TEXT}, "IMAGE_MISSING"),
        (["list"], "IMAGE_MISSING"),
        ("not base64!", "IMAGE_UNDECODABLE"),
        ("data:image/png;base64,", "IMAGE_MISSING"),
        ({"url": "https://example.com/a.jpg"}, "URL_REFUSED"),
        (np.zeros((4, 4)), "UNSUPPORTED_INPUT"),
        (np.full((4, 4, 3), 300), "UNSUPPORTED_INPUT"),
        (np.full((4, 4, 3), np.nan), "UNSUPPORTED_INPUT"),
        (np.array([["a"]]), "UNSUPPORTED_INPUT"),
    ],
    ids=str,
)
def test_what_is_no_photo_is_refused_with_a_code(transformer: ImageTransformer, X: object, reason: str) -> None:
    with pytest.raises(ComponentError) as refused:
        transformer.transform_input(X, [])
    assert refused.value.reason == reason
    assert 400 <= refused.value.status_code < 500


@pytest.mark.parametrize(
    "parameters",
    [{"input": "416"}, {"input": "9999x9999"}, {"max_photo_bytes": 9 * 1024 * 1024}, {"jpeg_quality": 101}],
    ids=str,
)
def test_wrong_parameter_is_refused_at_start(parameters: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(parameters))):
        ImageTransformer(**parameters)


@pytest.mark.parametrize(
    "text",
    ["127.0.0.1", "10.0.0.1", "192.168.1.1", "172.16.0.1", "169.254.169.254", "0.0.0.0", "100.64.0.1", "224.0.0.1",
     "255.255.255.255", "::1", "::", "fe80::1", "fc00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
     "2002:7f00:1::", "64:ff9b:1::1", "64:ff9b::a00:1", "192.0.2.1"],
)  # fmt: skip
def test_private_address_is_not_public(text: str) -> None:
    assert not is_public(ipaddress.ip_address(text))


def test_public_address_is_public() -> None:
    assert is_public(ipaddress.ip_address("93.184.215.14"))
    assert is_public(ipaddress.ip_address("2606:2800:21f:cb07:6820:80da:af6b:8b2c"))


@given(st.ip_addresses())
def test_no_loopback_private_or_link_local_address_is_public(address: fetch.Address) -> None:
    if address.is_loopback or address.is_private or address.is_link_local or address.is_multicast:
        assert not is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://h/x",
        "http://",
        "http://user:pw@h/x",
        "http://[::1",
        "http://h:99999/",
        "gopher://x",
        "",
    ],
)
def test_address_that_is_not_plain_http_is_refused(url: str) -> None:
    with pytest.raises(ComponentError) as refused:
        fetch_photo(url, max_bytes=100, resolve=lambda host, port: ["127.0.0.1"])
    assert refused.value.reason == "URL_REFUSED"


def test_name_with_one_private_address_among_public_ones_is_refused() -> None:
    with pytest.raises(ComponentError, match="h is not a public address"):
        fetch_photo("http://h/", max_bytes=100, resolve=lambda host, port: ["93.184.215.14", "127.0.0.1"])


GONE = threading.Event()
"""Never set: its ``wait`` is a pause."""


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = encoded("PNG") if self.path != "/host" else str(self.headers["Host"]).encode()
        if self.path == "/inside":
            self.send_response(302)
            self.send_header("Location", "http://inside.test/secret")
            self.end_headers()
            return
        if self.path == "/loop":
            self.send_response(302)
            self.send_header("Location", "/loop")
            self.end_headers()
            return
        if self.path.startswith("/drip"):
            self.drip(b"HTTP/1.0 200 OK\r\n\r\n" if self.path == "/drip-body" else b"HTTP/1.0 200 OK\r\nX: ")
            return
        if self.path == "/crooked":
            self.send_response(302)
            self.send_header("Location", "http://[::1")
            self.end_headers()
            return
        self.send_response(200 if self.path != "/missing" else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def drip(self, start: bytes) -> None:
        """One byte now and then, until the client has gone."""
        with contextlib.suppress(ConnectionError):
            self.wfile.write(start)
            while not GONE.wait(0.02):
                self.wfile.write(b"x")

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server on loopback under a name; only 127.0.0.1 counts as public, so that nothing leaves this machine."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setattr(fetch, "is_public", lambda address: str(address) == "127.0.0.1")
    yield f"http://photos.test:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def names(host: str, port: int) -> list[str]:
    return {"photos.test": ["127.0.0.1"], "inside.test": ["127.0.0.2"]}[host]


def test_photo_at_a_public_address_is_fetched(site: str) -> None:
    assert fetch_photo(f"{site}/a.png", max_bytes=10**6, resolve=names) == encoded("PNG")


def test_host_header_has_the_port_only_where_it_is_not_the_schemes_own(
    site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(site.rpartition(":")[2])
    assert fetch_photo(f"{site}/host", max_bytes=100, resolve=names) == f"photos.test:{port}".encode()
    monkeypatch.setitem(fetch.DEFAULT_PORTS, "http", port)
    assert fetch_photo("http://photos.test/host", max_bytes=100, resolve=names) == b"photos.test"


@pytest.mark.parametrize(
    ("path", "reason"),
    [("/inside", "URL_REFUSED"), ("/loop", "URL_REFUSED"), ("/missing", "URL_REFUSED"), ("/big", "IMAGE_TOO_LARGE")],
)
def test_redirect_inside_loop_error_and_size_are_refused(site: str, path: str, reason: str) -> None:
    with pytest.raises(ComponentError) as refused:
        fetch_photo(site + path, max_bytes=10 if path == "/big" else 10**6, resolve=names)
    assert refused.value.reason == reason


@pytest.mark.parametrize("path", ["/drip-header", "/drip-body"])
def test_server_that_drips_is_cut_off(site: str, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "FETCH_TIMEOUT_S", 0.5)
    with pytest.raises(ComponentError, match=r"photos.test did not send it in 0\.5 s"):
        fetch_photo(site + path, max_bytes=10**6, resolve=names)


def test_address_with_other_letters_is_fetched_and_a_crooked_redirect_refused(site: str) -> None:
    assert fetch_photo(f"{site}/\u00e9 1.png?q=\u00e9", max_bytes=10**6, resolve=names) == encoded("PNG")
    with pytest.raises(ComponentError, match="does not parse"):
        fetch_photo(f"{site}/crooked", max_bytes=10**6, resolve=names)


def test_tutorial_response_is_sorted_and_centred() -> None:
    box = {"x_min": -2.0, "y_min": 10.0, "x_max": 8.0, "y_max": 40.0}
    found = [{"label": "dog", "confidence": 0.5, "box": box}, {"label": "bird", "confidence": 0.9, "box": box}]
    reply = TutorialResponse().transform_output_raw({"jsonData": {"detections": found}})
    assert reply["data"] == [["bird", 0.9, [3.0, 25.0, 10.0, 30.0]], ["dog", 0.5, [3.0, 25.0, 10.0, 30.0]]]
    assert len(bytes.fromhex(reply["uid"])) == 16
    assert reply["success"] == "true"


def test_tutorial_response_without_detections_is_502() -> None:
    with pytest.raises(ComponentError) as refused:
        TutorialResponse().transform_output_raw({"strData": "x"})
    assert (refused.value.status_code, refused.value.reason) == (502, "DETECTIONS_MISSING")


def test_name_that_the_resolver_hangs_on_is_refused_in_time_and_few_are_asked_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fetch, "FETCH_TIMEOUT_S", 0.02)
    monkeypatch.setattr(fetch, "_LOOKUPS", threading.BoundedSemaphore(2))
    answers, asked = threading.Event(), []

    def hang(host: str, port: int) -> list[str]:
        asked.append(host)
        answers.wait()
        return ["127.0.0.1"]

    try:
        for _ in range(4):
            with pytest.raises(ComponentError, match=r"h was not found in 0\.02 s"):
                fetch_photo("http://h/", max_bytes=100, resolve=hang)
        wait_until(lambda: len(asked) == 2, timeout_s=20, what="the two lookups")
    finally:
        answers.set()
    monkeypatch.setattr(fetch, "FETCH_TIMEOUT_S", 20.0)
    assert len(asked) == 2
    with pytest.raises(ComponentError, match="h is not a public address"):  # what hung has given its place back
        fetch_photo("http://h/", max_bytes=100, resolve=hang)
