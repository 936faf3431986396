"""Read a folder out of an S3 server, with botocore alone: boto3 adds uploads and a quarter of the start."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import botocore
import botocore.config
import botocore.exceptions
import botocore.session

from slipway.storage.checksums import MAX_FILES
from slipway.storage.errors import SourceNotFound, StorageError, StorageUnavailable, UnsupportedUri
from slipway.storage.remotes import Place, S3Access

CONNECT_TIMEOUT_S = 2.0
READ_TIMEOUT_S = 30.0
READ_BYTES = 1024 * 1024

NEVER_ASKED = (botocore.exceptions.ParamValidationError, botocore.exceptions.EndpointProviderError)
"""A bucket's name or an address that no server has: not a store that is away."""

Progress = Callable[[int, int], None]
"""Called with (bytes done, bytes in all)."""


@dataclass(frozen=True)
class RemoteFile:
    """One object below a prefix. ``etag`` is the server's, without quotes."""

    path: str
    key: str
    size_bytes: int
    etag: str


class S3Folder:
    """One folder of a bucket. What its place leaves open of address and keys comes from the usual AWS_* environment."""

    def __init__(self, uri: str, place: Place) -> None:
        self.uri, self.bucket, self.prefix = uri, place.bucket, place.prefix
        if not self.bucket:
            raise SourceNotFound(f"{uri!r} names no bucket: write s3://BUCKET/FOLDER")
        try:
            self._client: Any = _client(place.access)
        except (ValueError, botocore.exceptions.BotoCoreError) as exc:  # an address that is none, half of a key
            raise UnsupportedUri(f"{uri}: its place cannot be asked: {_line(exc)}") from exc
        key = "" if place.access.is_anonymous else place.access.key or os.environ.get("AWS_ACCESS_KEY_ID", "")
        self.asked = f"{self._client.meta.endpoint_url} as {key or 'nobody'}"
        """Which server, under whose key: what one was given is no answer to another."""

    def files(self) -> list[RemoteFile]:
        """Every object below the prefix; SourceNotFound when there is none."""
        files: list[RemoteFile] = []
        try:
            for page in self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=f"{self.prefix}/" if self.prefix else ""
            ):
                contents = page.get("Contents", [])
                files.extend(self._remote_file(item) for item in contents if not _is_folder_marker(item))
                if len(files) > MAX_FILES:
                    raise StorageError(f"{self.uri} holds more than {MAX_FILES} objects")
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as exc:
            raise self._error(exc) from exc
        if not files:
            raise SourceNotFound(f"{self.uri}: nothing there")
        return files

    def _remote_file(self, item: Mapping[str, Any]) -> RemoteFile:
        key: str = item["Key"]
        path = key[len(self.prefix) :].lstrip("/") if self.prefix else key
        if not path or path.startswith("/") or ".." in Path(path).parts:
            raise StorageError(f"{self.uri}: object {key!r} would be written outside the model folder")
        return RemoteFile(path=path, key=key, size_bytes=item["Size"], etag=item["ETag"].strip('"'))

    def download(self, files: list[RemoteFile], folder: Path, *, progress: Progress) -> None:
        """Write every file below ``folder``, in pieces of ``READ_BYTES``."""
        total = sum(file.size_bytes for file in files)
        done = 0
        for file in files:
            target = folder / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                body = self._client.get_object(Bucket=self.bucket, Key=file.key)["Body"]
                with target.open("wb") as out:
                    for chunk in body.iter_chunks(READ_BYTES):
                        out.write(chunk)
                        done += len(chunk)
                        progress(done, total)
            except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as exc:
                raise self._error(exc) from exc

    def _error(self, exc: Exception) -> StorageError:
        if isinstance(exc, botocore.exceptions.ClientError):
            code = exc.response.get("Error", {}).get("Code", "")
            if code in ("NoSuchBucket", "NoSuchKey", "404"):
                return SourceNotFound(f"{self.uri}: {code}")
            status = exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            if status < 500:
                return StorageError(f"{self.uri}: {_line(exc)}")
        if isinstance(exc, NEVER_ASKED):
            return UnsupportedUri(f"{self.uri}: {_line(exc)}")
        return StorageUnavailable(f"{self.uri}: {_line(exc)}")


def _client(access: S3Access) -> Any:
    return botocore.session.get_session().create_client(
        "s3",
        endpoint_url=access.endpoint or None,
        region_name=access.region or None,
        aws_access_key_id=access.key or None,
        aws_secret_access_key=access.secret or None,
        aws_session_token=access.token or None,
        config=botocore.config.Config(
            signature_version=botocore.UNSIGNED if access.is_anonymous else None,
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=READ_TIMEOUT_S,
            retries={"max_attempts": 2, "mode": "standard"},
            s3={"addressing_style": "path"},
            # Servers other than Amazon's do not all know the newer default checksums.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


def _line(exc: Exception) -> str:
    return " ".join(str(exc).split())


def _is_folder_marker(item: Mapping[str, Any]) -> bool:
    """An empty object ``models/``, as consoles make them to show a folder."""
    return str(item["Key"]).endswith("/") and item["Size"] == 0
