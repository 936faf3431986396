"""``models:/name@alias`` → version, digest and S3 location, over MLflow's REST API.

Endpoints and fields are those of MLflow's REST API 2.0 (registered-models/alias, model-versions/get,
model-versions/get-download-uri). The MLflow library itself is not used here: importing it costs more than 100 MB.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from slipway.registry.errors import ModelNotFound, RegistryRefused, RegistryUnavailable
from slipway.registry.reference import ModelReference, parse_model_reference

REQUEST_TIMEOUT_S = 10.0
MAX_ANSWER_BYTES = 1024 * 1024
DIGEST_TAG = "slipway.digest"


@dataclass(frozen=True)
class RegistryAddress:
    """Where the tracking server is and who we are there. The password never shows in a repr."""

    uri: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> RegistryAddress | None:
        """From MLFLOW_TRACKING_URI, _USERNAME and _PASSWORD; None when no URI is set."""
        env = os.environ if env is None else env
        uri = env.get("MLFLOW_TRACKING_URI")
        if not uri:
            return None
        return cls(uri.rstrip("/"), env.get("MLFLOW_TRACKING_USERNAME"), env.get("MLFLOW_TRACKING_PASSWORD"))

    @property
    def headers(self) -> dict[str, str]:
        """The login, where there is one."""
        if not self.username:
            return {}
        pair = f"{self.username}:{self.password or ''}"
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


@dataclass(frozen=True)
class ResolvedModel:
    """One version of a registered model, as the registry named it at one moment.

    ``digest`` is ``sha256:<hex>`` of the version's SHA256SUMS, or None for a version that was registered without one.
    ``source`` is the artifact location, e.g. ``s3://slipway-models/1/models/m-…/artifacts``.
    """

    name: str
    version: str
    digest: str | None
    source: str
    alias: str | None = None

    @property
    def uri(self) -> str:
        return f"models:/{self.name}/{self.version}"


async def resolve(uri: str, *, registry: RegistryAddress, session: aiohttp.ClientSession) -> ResolvedModel:
    """Ask the registry once. Raises a RegistryError that names the URI and the registry."""
    reference = parse_model_reference(uri)
    try:
        version = await _version(reference, registry=registry, session=session)
        key = {"name": version["name"], "version": version["version"]}
        location = await _ask(
            "model-versions/get-download-uri", key, registry=registry, session=session, reference=reference
        )
        tags = {tag["key"]: tag["value"] for tag in version.get("tags", [])}
        return ResolvedModel(
            name=version["name"],
            version=str(version["version"]),
            digest=tags.get(DIGEST_TAG),
            source=location["artifact_uri"],
            alias=reference.alias,
        )
    except (KeyError, TypeError, AttributeError) as exc:
        raise RegistryUnavailable(
            f"{reference}: {registry.uri} answered as MLflow does not ({type(exc).__name__}: {exc})"
        ) from exc


async def _version(
    reference: ModelReference, *, registry: RegistryAddress, session: aiohttp.ClientSession
) -> dict[str, Any]:
    if reference.alias:
        path, key = "registered-models/alias", {"name": reference.name, "alias": reference.alias}
    else:
        path, key = "model-versions/get", {"name": reference.name, "version": reference.version or ""}
    answer = await _ask(path, key, registry=registry, session=session, reference=reference)
    version: dict[str, Any] = answer["model_version"]
    return version


async def _ask(
    path: str,
    query: dict[str, str],
    *,
    registry: RegistryAddress,
    session: aiohttp.ClientSession,
    reference: ModelReference,
) -> dict[str, Any]:
    url = f"{registry.uri}/api/2.0/mlflow/{path}"
    try:
        async with session.get(
            url,
            params=query,
            headers=registry.headers,
            timeout=aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S),
            allow_redirects=False,  # the login is for this server
        ) as response:
            body = await _body(response, registry=registry, reference=reference)
    except (aiohttp.ClientError, TimeoutError) as exc:
        raise RegistryUnavailable(f"{reference}: {registry.uri} does not answer ({type(exc).__name__}: {exc})") from exc
    return _read(response.status, body, registry=registry, reference=reference)


async def _body(response: aiohttp.ClientResponse, *, registry: RegistryAddress, reference: ModelReference) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise RegistryUnavailable(f"{reference}: {registry.uri}: an answer longer than {MAX_ANSWER_BYTES} bytes")
    return bytes(body)


def _read(status: int, body: bytes, *, registry: RegistryAddress, reference: ModelReference) -> dict[str, Any]:
    """The answer's JSON, or the RegistryError that its status means."""
    text = body[:300].decode(errors="replace")
    if status == 401:
        raise RegistryRefused(f"{reference}: {registry.uri} refused the login (HTTP {status})")
    if status == 403:  # MLflow does not tell a name that it may not show from one that it does not know
        who = f"user {registry.username!r}" if registry.username else "nobody without a login"
        raise RegistryRefused(f"{reference}: {registry.uri}: there is no such model, or it is not for {who} (HTTP 403)")
    if status == 429 or status >= 500:
        raise RegistryUnavailable(f"{reference}: {registry.uri} answered HTTP {status}: {text}")
    try:
        answer = json.loads(body)
    except ValueError as exc:
        raise RegistryUnavailable(f"{reference}: {registry.uri} answered no JSON (HTTP {status}): {text}") from exc
    if not isinstance(answer, dict):
        raise RegistryUnavailable(f"{reference}: {registry.uri} answered no JSON object (HTTP {status}): {text}")
    if status != 200:
        # MLflow answers an unknown alias with INVALID_PARAMETER_VALUE, an unknown model or version with
        # RESOURCE_DOES_NOT_EXIST; both mean the same to the one who wrote the URI.
        raise ModelNotFound(f"{reference}: {answer.get('message', text)}")
    return answer
