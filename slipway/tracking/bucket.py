"""Files in a bucket of an S3 server; address and keys come from the usual AWS_* environment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import botocore.config
from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError

from slipway.tracking.errors import BackupError

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 60.0
ATTEMPTS = 5
MISSING = ("NoSuchBucket", "404")


class Bucket:
    """One bucket. Every method raises BackupError."""

    def __init__(self, name: str) -> None:
        self.name = name
        with self._told("its address"):
            self._client: Any = boto3.client(
                "s3",
                config=botocore.config.Config(
                    connect_timeout=CONNECT_TIMEOUT_S,
                    read_timeout=READ_TIMEOUT_S,
                    retries={"max_attempts": ATTEMPTS, "mode": "standard"},
                    s3={"addressing_style": "path"},
                    # Servers other than Amazon's do not all know the newer default checksums.
                    request_checksum_calculation="when_required",
                    response_checksum_validation="when_required",
                ),
            )

    def close(self) -> None:
        self._client.close()

    def ensure(self) -> None:
        """Make it where it is missing and the keys may."""
        try:
            self._client.head_bucket(Bucket=self.name)
        except ClientError as error:
            if error.response["Error"]["Code"] not in MISSING:
                raise BackupError(f"s3://{self.name}: {error}") from error
            with self._told("cannot be made"):
                self._client.create_bucket(Bucket=self.name)
        except BotoCoreError as error:
            raise BackupError(f"s3://{self.name}: {error}") from error

    def keys(self, prefix: str) -> list[str]:
        with self._told(prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
            return [item["Key"] for page in pages for item in page.get("Contents", ())]

    def put(self, file: Path, key: str) -> None:
        """In parts where it is large. The server must have as many bytes afterwards."""
        with self._told(key):
            self._client.upload_file(str(file), self.name, key)
            there = self._client.head_object(Bucket=self.name, Key=key)["ContentLength"]
        if there != file.stat().st_size:
            raise BackupError(f"s3://{self.name}/{key}: has {there} bytes of {file.stat().st_size}")

    def get(self, key: str, file: Path) -> None:
        with self._told(key):
            self._client.download_file(self.name, key, str(file))

    def text(self, key: str, *, max_bytes: int) -> str:
        with self._told(key):
            body: bytes = self._client.get_object(Bucket=self.name, Key=key)["Body"].read(max_bytes + 1)
        if len(body) > max_bytes:
            raise BackupError(f"s3://{self.name}/{key}: larger than {max_bytes} bytes")
        return body.decode(errors="replace")

    def remove(self, key: str) -> None:
        with self._told(key):
            self._client.delete_object(Bucket=self.name, Key=key)

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            yield
        except (BotoCoreError, Boto3Error, ClientError, ValueError) as error:
            raise BackupError(f"s3://{self.name}: {what}: {' '.join(str(error).split())}") from error
