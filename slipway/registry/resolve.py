"""``models:/name@alias`` → version, digest and S3 location, over MLflow's REST API.

Endpoints and fields are those of MLflow's REST API 2.0 (registered-models/alias, model-versions/get,
model-versions/get-download-uri).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slipway.registry.errors import RegistryUnavailable
from slipway.registry.reference import ModelReference, parse_model_reference
from slipway.registry.rest import RegistryAddress, ask

if TYPE_CHECKING:
    import aiohttp

DIGEST_TAG = "slipway.digest"


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
        location = await ask(
            "model-versions/get-download-uri", key, registry=registry, session=session, subject=reference
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
    answer = await ask(path, key, registry=registry, session=session, subject=reference)
    version: dict[str, Any] = answer["model_version"]
    return version
