"""Readiness in each part's own protocol: HTTP, HTTP over a Unix socket, a signed S3 request, `select 1`."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import psycopg2
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from slipway.onebox.supervisor.spec import NotReadyError, SilentError

PROBE_TIMEOUT_S = 2.0


@dataclass(frozen=True)
class HttpProbe:
    """Ready when ``GET url`` answers 200; over the Unix socket ``socket`` where one is given."""

    url: str
    socket: Path | None = None

    async def check(self) -> None:
        await _get(self.url, socket=self.socket)


@dataclass(frozen=True)
class S3Probe:
    """Ready when a signed ListBuckets answers 200: the proxy, its keys and the account server all work."""

    endpoint: str
    user: str
    key: str = field(repr=False)
    region: str

    async def check(self) -> None:
        request = AWSRequest("GET", f"{self.endpoint}/")
        S3SigV4Auth(Credentials(self.user, self.key), "s3", self.region).add_auth(request)
        await _get(request.url, headers=dict(request.headers.items()))


@dataclass(frozen=True)
class PostgresProbe:
    """Ready when the server behind the Unix socket in ``folder`` answers ``select 1``."""

    folder: Path
    user: str

    async def check(self) -> None:
        await asyncio.to_thread(self._select)

    def _select(self) -> None:
        try:
            connection = psycopg2.connect(
                host=str(self.folder), user=self.user, dbname="postgres", connect_timeout=int(PROBE_TIMEOUT_S)
            )
        except psycopg2.OperationalError as error:
            said = str(error).strip()
            raise (SilentError if "timeout expired" in said else NotReadyError)(said) from error
        try:
            with connection.cursor() as cursor:
                cursor.execute("select 1")
        except psycopg2.Error as error:  # it went amid the question
            raise NotReadyError(str(error).strip()) from error
        finally:
            connection.close()


async def _get(url: str, *, socket: Path | None = None, headers: dict[str, str] | None = None) -> None:
    connector = aiohttp.UnixConnector(path=str(socket)) if socket else aiohttp.TCPConnector()
    try:
        async with (
            asyncio.timeout(PROBE_TIMEOUT_S),  # aiohttp's `total` may lose a cancellation that comes with it
            aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None)) as session,
            session.get(url, headers=headers) as response,
        ):
            if response.status != 200:
                raise NotReadyError(f"GET {url} answered {response.status}")
    except TimeoutError as error:
        raise SilentError(f"GET {url}: no answer within {PROBE_TIMEOUT_S:g} s") from error
    except (aiohttp.ClientError, OSError) as error:
        raise NotReadyError(f"GET {url}: {error or type(error).__name__}") from error
