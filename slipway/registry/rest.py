"""Questions to MLflow's REST API 2.0: one bounded request each, every answer either JSON or a RegistryError.

The MLflow library itself is not used here: importing it costs more than 100 MB. aiohttp is imported with the first
question: a storage initializer, which only reads the names of models, would spend a third of its time on that.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote

from slipway.registry.errors import ModelNotFound, RegistryRefused, RegistryUnavailable, UnreadableAnswer

if TYPE_CHECKING:
    import aiohttp

REQUEST_TIMEOUT_S = 10.0
MAX_ANSWER_BYTES = 1024 * 1024


@dataclass(frozen=True)
class RegistryAddress:
    """Where the tracking server is and who we are there. The password never shows in a repr."""

    uri: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> RegistryAddress | None:
        """From MLFLOW_TRACKING_URI, _USERNAME and _PASSWORD; None when no URI is set.

        A login inside the URI is taken out of it, because messages, logs and Events show the URI.
        """
        env = os.environ if env is None else env
        given = env.get("MLFLOW_TRACKING_URI")
        if not given:
            return None
        uri, username, password = without_login(given)
        return cls(
            uri.rstrip("/"),
            env.get("MLFLOW_TRACKING_USERNAME") or username,
            env.get("MLFLOW_TRACKING_PASSWORD") or password,
        )

    @property
    def headers(self) -> dict[str, str]:
        """The login, where there is one."""
        if not self.username:
            return {}
        pair = f"{self.username}:{self.password or ''}"
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def without_login(uri: str) -> tuple[str, str | None, str | None]:
    """The URI without ``user:password@``, and the two, None where there is none."""
    scheme, separator, rest = uri.partition("://")
    place, slash, path = rest.partition("/")
    login, at, host = place.rpartition("@")
    if not (separator and at):
        return uri, None, None
    username, colon, password = login.partition(":")
    return f"{scheme}://{host}{slash}{path}", unquote(username), unquote(password) if colon else None


async def ask(
    path: str,
    query: Mapping[str, str],
    *,
    registry: RegistryAddress,
    session: aiohttp.ClientSession,
    subject: object,
    method: Literal["GET", "POST", "DELETE"] = "GET",
) -> dict[str, Any]:
    """The answer's JSON object; ``query`` is the body of anything but a GET. Errors begin with ``subject``."""
    import asyncio

    import aiohttp

    sent: dict[str, Any] = {"params": query} if method == "GET" else {"json": query}
    try:
        async with (
            asyncio.timeout(REQUEST_TIMEOUT_S),  # not aiohttp's `total`: a cancellation that comes with it is lost
            session.request(
                method,
                f"{registry.uri}/api/2.0/mlflow/{path}",
                headers=registry.headers,
                timeout=aiohttp.ClientTimeout(total=None),
                allow_redirects=False,  # the login is for this server
                **sent,
            ) as response,
        ):
            body = await _body(response, registry=registry, subject=subject)
    except (aiohttp.ClientError, OSError, ValueError) as exc:  # OSError: also a timeout; ValueError: no address at all
        raise RegistryUnavailable(f"{subject}: {registry.uri} does not answer ({type(exc).__name__}: {exc})") from exc
    return _read(response.status, body, registry=registry, subject=subject)


async def _body(response: aiohttp.ClientResponse, *, registry: RegistryAddress, subject: object) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise UnreadableAnswer(f"{subject}: {registry.uri}: an answer longer than {MAX_ANSWER_BYTES} bytes")
    return bytes(body)


def _read(status: int, body: bytes, *, registry: RegistryAddress, subject: object) -> dict[str, Any]:
    """The answer's JSON, or the RegistryError that its status means."""
    text = body[:300].decode(errors="replace")
    if status == 401:
        raise RegistryRefused(f"{subject}: {registry.uri} refused the login (HTTP {status})")
    if status == 403:  # MLflow does not tell a name that it may not show from one that it does not know
        who = f"user {registry.username!r}" if registry.username else "nobody without a login"
        raise RegistryRefused(f"{subject}: {registry.uri}: there is no such model, or it is not for {who} (HTTP 403)")
    if status == 429 or status >= 500:
        raise RegistryUnavailable(f"{subject}: {registry.uri} answered HTTP {status}: {text}")
    try:
        answer = json.loads(body)
    except ValueError as exc:
        raise UnreadableAnswer(f"{subject}: {registry.uri} answered no JSON (HTTP {status}): {text}") from exc
    if not isinstance(answer, dict):
        raise UnreadableAnswer(f"{subject}: {registry.uri} answered no JSON object (HTTP {status}): {text}")
    if status != 200:
        # MLflow answers an unknown alias with INVALID_PARAMETER_VALUE, an unknown model or version with
        # RESOURCE_DOES_NOT_EXIST; both mean the same to the one who wrote the URI.
        raise ModelNotFound(f"{subject}: {answer.get('message', text)}")
    return answer
