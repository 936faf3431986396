"""Remotes of Seldon's initializer: where a URI leads, and a folder read through one from an S3 server played here."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from slipway.storage.cache import ModelCache
from slipway.storage.errors import SourceNotFound, StorageUnavailable, UnsupportedUri
from slipway.storage.fetch import Wanted, fetch
from slipway.storage.remotes import GOOGLE, GOOGLE_ENDPOINT, Place, S3Access, place_of
from slipway.storage.s3 import S3Folder

MINIO = {
    "RCLONE_CONFIG_S3_TYPE": "s3",
    "RCLONE_CONFIG_S3_PROVIDER": "minio",
    "RCLONE_CONFIG_S3_ENV_AUTH": "false",
    "RCLONE_CONFIG_S3_ACCESS_KEY_ID": "key",
    "RCLONE_CONFIG_S3_SECRET_ACCESS_KEY": "secret",
    "RCLONE_CONFIG_S3_ENDPOINT": "http://minio:9000",
}
FILES = {"iris/model.joblib": b"joblib", "iris/deep/metadata.yaml": b"name: iris\n", "other/x": b""}


def named(name: str, env: dict[str, str]) -> dict[str, str]:
    return {key.replace("_S3_", f"_{name}_", 1): value for key, value in env.items()}


@pytest.mark.parametrize(
    "source", ["s3://models/iris", "s3:models/iris", "s3:/models/iris/", "S3://models/iris", "s3:///models/iris"]
)
def test_every_way_to_write_a_remote_leads_to_its_bucket(source):
    access = S3Access(endpoint="http://minio:9000", key="key", secret="secret")
    assert place_of(source, MINIO) == Place("models", "iris", access)


def test_remote_of_another_name_has_its_own_options():
    env = {
        **MINIO,
        **named("CLOUD", {**MINIO, "RCLONE_CONFIG_S3_ENDPOINT": "cloud.example", "RCLONE_CONFIG_S3_REGION": "eu"}),
    }
    place = place_of("cloud://models/iris/v2", env)
    assert place is not None
    assert (place.prefix, place.access.endpoint, place.access.region) == ("iris/v2", "https://cloud.example", "eu")


def test_remote_whose_name_begins_another_one_keeps_its_own_options():
    both = {**named("STORE", MINIO), **named("STORE_EU", {**MINIO, "RCLONE_CONFIG_S3_ENDPOINT": "http://eu:9000"})}
    places = place_of("store:models/iris", both), place_of("store_eu:models/iris", both)
    assert [place.access.endpoint for place in places if place] == ["http://minio:9000", "http://eu:9000"]


@pytest.mark.parametrize(
    ("access", "bucket_name"),
    [
        (S3Access(endpoint="https://"), "models"),
        (S3Access(endpoint="http://two words"), "models"),
        (S3Access(endpoint="http://minio:99999", key="k", secret="s", region="r"), "models"),
        (S3Access(key="half"), "models"),
        (S3Access(region="a b/../x"), "models"),
        (S3Access(endpoint="http://minio:9000", key="k", secret="s", region="r"), "no*bucket"),
    ],
)
def test_place_that_no_server_has_is_refused_in_one_line_and_is_not_away(access, bucket_name):
    with pytest.raises(UnsupportedUri, match="^store:x: ") as refused:
        S3Folder("store:x", Place(bucket_name, "x", access)).files()
    assert "\n" not in str(refused.value)


def test_s3_without_options_is_that_of_the_aws_variables():
    assert place_of("s3://models/iris", {}) == Place("models", "iris", S3Access())
    env_auth = {"RCLONE_CONFIG_S3_TYPE": "s3", "RCLONE_CONFIG_S3_ENV_AUTH": "true"}
    assert place_of("s3://models/iris", env_auth) == Place("models", "iris", S3Access())


def test_s3_without_keys_is_anonymous():
    place = place_of("s3://models/iris", {"RCLONE_CONFIG_S3_TYPE": "s3"})
    assert place is not None
    assert place.access.is_anonymous


def test_public_buckets_of_google_need_no_options():
    place = place_of("gs://seldon-models/sklearn/iris", {})
    assert place == Place(
        "seldon-models", "sklearn/iris", S3Access(endpoint=GOOGLE_ENDPOINT, region="auto", is_anonymous=True)
    )


@pytest.mark.parametrize(
    "source",
    ["azure://models/iris", "https://example/iris", "ftp://x/y", "pvc://claim/x", "models:/m/1", "/a/folder", "x"],
)
def test_what_names_no_remote_leads_nowhere(source):
    assert place_of(source, MINIO) is None


@pytest.mark.parametrize(
    ("env", "text"),
    [
        ({"RCLONE_CONFIG_S3_TYPE": "azureblob"}, "RCLONE_CONFIG_S3_TYPE='azureblob' cannot be read here; s3 can"),
        ({"RCLONE_CONFIG_S3_ENDPOINT": "x"}, "RCLONE_CONFIG_S3_TYPE='' cannot be read here"),
        ({**MINIO, "RCLONE_CONFIG_S3_PROFILE": "p"}, "RCLONE_CONFIG_S3_PROFILE: not honoured here; known: TYPE"),
        ({"RCLONE_CONFIG_S3_TYPE": GOOGLE}, "RCLONE_CONFIG_S3_ANONYMOUS=true is needed"),
    ],
)
def test_remote_that_cannot_be_honoured_says_why(env, text):
    with pytest.raises(UnsupportedUri, match=text):
        place_of("s3://models/iris", env)


def test_keys_are_not_shown():
    assert "secret" not in repr(place_of("s3://models/iris", MINIO)).replace("secret=", "")
    assert "'key'" not in repr(place_of("s3://models/iris", MINIO))


class Bucket(BaseHTTPRequestHandler):
    """``models`` with FILES, as far as listing and reading go; remembers who asked."""

    seen: list[str]

    def do_GET(self) -> None:
        self.seen.append(self.headers.get("Authorization", ""))
        url = urlsplit(self.path)
        prefix = parse_qs(url.query).get("prefix", [""])[0]
        name = url.path.removeprefix("/models").lstrip("/")
        if not name:
            items = "".join(
                f'<Contents><Key>{key}</Key><Size>{len(body)}</Size><ETag>"{len(body)}"</ETag></Contents>'
                for key, body in FILES.items()
                if key.startswith(prefix)
            )
            self.answer(f"<ListBucketResult><IsTruncated>false</IsTruncated>{items}</ListBucketResult>".encode())
        else:
            self.answer(FILES[name])

    def answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, list[str]]]:
    """The server's address, and the Authorization of each request."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    seen: list[str] = []
    handler = type("Seeing", (Bucket,), {"seen": seen})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", seen
    server.shutdown()
    thread.join()
    server.server_close()


def fetched(source: str, folder: Path) -> dict[str, bytes]:
    found = fetch(Wanted(source, source), ModelCache(folder), progress=lambda *_: None)
    return {name: (found.folder / name).read_bytes() for name in ("model.joblib", "deep/metadata.yaml")}


def test_folder_of_a_remote_is_read_with_its_own_keys(bucket, tmp_path, monkeypatch):
    endpoint, seen = bucket
    for name, value in {**named("STORE", MINIO), "RCLONE_CONFIG_STORE_ENDPOINT": endpoint}.items():
        monkeypatch.setenv(name, value)
    files = fetched("store:models/iris", tmp_path)
    assert files == {name.removeprefix("iris/"): body for name, body in FILES.items() if name.startswith("iris/")}
    assert all("Credential=key/" in header for header in seen)
    with pytest.raises(SourceNotFound, match="nothing there"):
        fetched("store:models/none", tmp_path)


def test_second_pod_reads_the_list_and_downloads_nothing(bucket, tmp_path, monkeypatch):
    endpoint, seen = bucket
    for name, value in {**named("STORE", MINIO), "RCLONE_CONFIG_STORE_ENDPOINT": endpoint}.items():
        monkeypatch.setenv(name, value)
    first = fetched("store:models/iris", tmp_path)
    assert len(seen) == 1 + len(first)
    assert fetched("store:models/iris", tmp_path) == first
    assert len(seen) == 1 + len(first) + 1


def test_public_folder_is_read_without_a_login(bucket, tmp_path, monkeypatch):
    endpoint, seen = bucket
    monkeypatch.setenv("RCLONE_CONFIG_GS_TYPE", GOOGLE)
    monkeypatch.setenv("RCLONE_CONFIG_GS_ANONYMOUS", "true")
    monkeypatch.setenv("RCLONE_CONFIG_GS_ENDPOINT", endpoint)
    assert fetched("gs://models/iris", tmp_path)["model.joblib"] == b"joblib"
    assert set(seen) == {""}


@pytest.mark.parametrize("other", [{"ENDPOINT": "http://127.0.0.1:1"}, {"ACCESS_KEY_ID": "another", "ENDPOINT": ""}])
def test_cached_folder_is_not_given_to_who_asks_another_server_or_with_another_key(
    bucket, tmp_path, monkeypatch, other
):
    endpoint, _ = bucket
    for name, value in {**named("STORE", MINIO), "RCLONE_CONFIG_STORE_ENDPOINT": endpoint}.items():
        monkeypatch.setenv(name, value)
    fetched("store:models/iris", tmp_path)
    monkeypatch.setattr(S3Folder, "files", away)
    assert fetched("store:models/iris", tmp_path)["model.joblib"] == b"joblib"  # who read it once may do without
    for name, value in other.items():
        monkeypatch.setenv(f"RCLONE_CONFIG_STORE_{name}", value or endpoint)
    with pytest.raises(StorageUnavailable):
        fetched("store:models/iris", tmp_path)


def away(store: S3Folder) -> None:
    raise StorageUnavailable(f"{store.uri}: away")
