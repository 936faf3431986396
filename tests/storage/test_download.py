"""Public files over HTTP, from a real server on loopback."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from slipway.storage.catalog import PublicFile, load_catalog
from slipway.storage.download import DownloadError, download

BODY = bytes(range(256)) * 4096
FILE = PublicFile("a.weights", len(BODY), hashlib.sha256(BODY).hexdigest(), ())


class Handler(BaseHTTPRequestHandler):
    ranges: list[str | None]

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.ranges.append(asked)
        body = BODY if self.path != "/other" else BODY[::-1]
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.path != "/norange" else 0
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        end = len(body) // 2 if self.path == "/cut" else len(body)
        self.wfile.write(body[start:end])

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.ranges = []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def url(server: ThreadingHTTPServer, path: str) -> str:
    return f"http://127.0.0.1:{server.server_port}/{path}"


def test_download_verifies_and_counts_every_byte(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    gained: list[int] = []
    download(FILE, [url(server, "file")], tmp_path / "a.weights", progress=gained.append)
    assert (tmp_path / "a.weights").read_bytes() == BODY
    assert sum(gained) == len(BODY)


def test_download_resumes_where_a_broken_transfer_stopped(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    target = tmp_path / "a.weights"
    with pytest.raises(DownloadError, match="expected 1048576 bytes, found 524288|IncompleteRead"):
        download(FILE, [url(server, "cut")], target, progress=lambda _: None)
    assert not target.exists()
    download(FILE, [url(server, "file")], target, progress=lambda _: None)
    assert target.read_bytes() == BODY
    assert server.ranges == [None, f"bytes={len(BODY) // 2}-"]


def test_download_starts_over_when_the_server_ignores_the_range(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    (tmp_path / "a.weights.part").write_bytes(BODY[:1000])
    download(FILE, [url(server, "norange")], tmp_path / "a.weights", progress=lambda _: None)
    assert (tmp_path / "a.weights").read_bytes() == BODY


def test_download_of_other_bytes_is_refused_and_names_both_digests(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=f"expected sha256:{FILE.sha256}, found sha256:"):
        download(FILE, [url(server, "other")], tmp_path / "a.weights", progress=lambda _: None)
    assert list(tmp_path.iterdir()) == []


def test_download_tries_the_next_address(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    download(FILE, [url(server, "other"), url(server, "file")], tmp_path / "a.weights", progress=lambda _: None)
    assert (tmp_path / "a.weights").read_bytes() == BODY


def test_catalog_has_a_size_and_digest_for_every_file() -> None:
    files = [file for model in load_catalog().values() for file in model.files]
    assert len(files) >= 24
    assert all(len(file.sha256) == 64 and file.size_bytes > 0 and file.urls for file in files)
    tiny = {file.name: file for file in load_catalog()["yolov3-tiny"].files}["yolov3-tiny.weights"]
    assert tiny.sha256 == "dccea06f59b781ec1234ddf8d1e94b9519a97f4245748a7d4db75d5b7080a42c"
