"""Where checkpoints and results are kept: a folder, or ``s3://bucket/prefix``. A reader sees a whole file or the one before."""

from __future__ import annotations

import errno
import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from model_wrappers.darknet.training.errors import PlaceError

MAX_OBJECT_BYTES = 4 << 30  # one PUT of S3 ends at 5 GiB
S3_CONNECT_TIMEOUT_S, S3_READ_TIMEOUT_S, S3_TRIES = 10, 120, 5
NO_LOCKS = (errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # file systems that lock no folder
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


class Place(Protocol):
    """``read`` answers None where nothing was written yet. All raise PlaceError.

    While one training holds a place, no other gets it: where that can be known, which is not so of S3.
    """

    def held(self) -> AbstractContextManager[None]: ...

    def read(self, name: str) -> bytes | None: ...

    def write(self, name: str, content: bytes) -> None: ...


def open_place(where: str) -> Place:
    """A folder's path or ``s3://bucket[/prefix]``; neither needs to be there yet.

    S3's address and keys come from boto3's environment variables (``AWS_ENDPOINT_URL``, ``AWS_ACCESS_KEY_ID``, ...).
    """
    if where and "://" not in where:
        return FolderPlace(Path(where))
    parts = urlsplit(where)
    if parts.scheme != "s3" or not _BUCKET.fullmatch(parts.netloc) or parts.query or parts.fragment:
        raise PlaceError(f"{where!r}: a folder, or s3://bucket/prefix, is expected")
    return S3Place(parts.netloc, parts.path.strip("/"))


class FolderPlace:
    """Files of one folder, each replaced in one step."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __str__(self) -> str:
        return str(self.folder)

    @contextmanager
    def held(self) -> Iterator[None]:
        """The folder is made. The kernel ends the lock with the process, however that ends."""
        descriptor = self._open()
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            os.close(descriptor)
            raise PlaceError(
                f"{self.folder}: another training is at work in this folder: wait for its end, stop it, or name another folder"
            ) from exc
        except OSError as exc:
            if exc.errno not in NO_LOCKS:
                os.close(descriptor)
                raise PlaceError(f"{self.folder}: cannot be locked: {exc.strerror}") from exc
        try:
            yield
        finally:
            os.close(descriptor)

    def _open(self) -> int:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            return os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as exc:
            raise PlaceError(f"{self.folder}: is no folder that can be used: {exc.strerror}") from exc

    def read(self, name: str) -> bytes | None:
        path = self.folder / name
        try:
            if path.stat().st_size > MAX_OBJECT_BYTES:
                raise PlaceError(f"{path}: larger than {MAX_OBJECT_BYTES} bytes")
            return path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise PlaceError(f"{path}: cannot be read: {exc.strerror}") from exc

    def write(self, name: str, content: bytes) -> None:
        _check_size(f"{self.folder / name}", content)
        draft = self.folder / f".{name}.draft"  # one name: what a killed process left is written over
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with draft.open("wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())  # a machine that stops after the rename must not show an empty file
            draft.replace(self.folder / name)
        except OSError as exc:
            with suppress(OSError):  # where nothing can be written, nothing may be to remove: the first error is told
                draft.unlink()
            raise PlaceError(f"{self.folder / name}: cannot be written: {exc.strerror}") from exc


class S3Place:
    """Objects below one prefix. The bucket is made at the first write, if the keys may do so."""

    def __init__(self, bucket: str, prefix: str) -> None:
        import boto3
        from botocore.config import Config

        self.bucket = bucket
        self.prefix = prefix
        self._client: Any = boto3.client(
            "s3",
            config=Config(
                connect_timeout=S3_CONNECT_TIMEOUT_S,
                read_timeout=S3_READ_TIMEOUT_S,
                retries={"max_attempts": S3_TRIES, "mode": "standard"},
                s3={"addressing_style": "path"},
                request_checksum_calculation="when_required",  # servers other than Amazon's may not know the newer ones
                response_checksum_validation="when_required",
            ),
        )

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"

    def held(self) -> AbstractContextManager[None]:
        return nullcontext()

    def read(self, name: str) -> bytes | None:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer = self._client.get_object(Bucket=self.bucket, Key=self._key(name))
            if answer["ContentLength"] > MAX_OBJECT_BYTES:
                raise PlaceError(f"{self}/{name}: larger than {MAX_OBJECT_BYTES} bytes")
            return bytes(answer["Body"].read())
        except ClientError as exc:
            if exc.response["Error"]["Code"] in ("NoSuchKey", "NoSuchBucket", "404"):
                return None
            raise PlaceError(f"{self}/{name}: cannot be read: {exc}") from exc
        except BotoCoreError as exc:
            raise PlaceError(f"{self}/{name}: cannot be read: {exc}") from exc

    def write(self, name: str, content: bytes) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        _check_size(f"{self}/{name}", content)
        try:
            try:
                self._client.put_object(Bucket=self.bucket, Key=self._key(name), Body=content)
            except ClientError as exc:
                if exc.response["Error"]["Code"] != "NoSuchBucket":
                    raise
                self._client.create_bucket(Bucket=self.bucket)
                self._client.put_object(Bucket=self.bucket, Key=self._key(name), Body=content)
        except (BotoCoreError, ClientError) as exc:
            raise PlaceError(f"{self}/{name}: cannot be written: {exc}") from exc

    def _key(self, name: str) -> str:
        return f"{self.prefix}/{name}" if self.prefix else name


def _check_size(where: str, content: bytes) -> None:
    """What could not be read again is not written."""
    if len(content) > MAX_OBJECT_BYTES:
        raise PlaceError(f"{where}: {len(content)} bytes are more than the {MAX_OBJECT_BYTES} that are possible")
