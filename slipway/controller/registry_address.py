"""Which registry is asked: that of the environment, else that of the installation's Secret as it is at the moment."""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Mapping

import aiohttp

from slipway.controller.alias_watch import ReadAliases
from slipway.controller.meta import Object
from slipway.controller.resolver import Ask
from slipway.kube.kinds import SECRET
from slipway.kube.reflector import Reflector
from slipway.registry import Pointer, RegistryAddress, RegistryUnavailable, ResolvedModel, read_aliases, resolve

log = logging.getLogger(__name__)
KEYS = ("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
FindRegistry = Callable[[], RegistryAddress]
"""Raises RegistryUnavailable where none is known yet."""


def finder(given: RegistryAddress | None, secrets: Reflector, place: tuple[str, str]) -> FindRegistry:
    """``given`` for ever, or what the Secret at ``place`` (namespace, name) says each time: it may come later, or change."""

    def find() -> RegistryAddress:
        return given or of_secret(secrets.objects(SECRET).get(place), place)

    return find


def of_secret(secret: Object | None, place: tuple[str, str]) -> RegistryAddress:
    """The address and login in the Secret at ``place``, which is ``secret`` or not there. Raises RegistryUnavailable."""
    where = f"Secret {'/'.join(place)}"
    if secret is None:
        raise RegistryUnavailable(f"there is no {where} yet, and the controller was started without {KEYS[0]}")
    try:
        found = RegistryAddress.from_env(_decoded(secret.get("data") or {}))
    except ValueError as exc:  # of base64 or of UTF-8
        raise RegistryUnavailable(f"{where}: {', '.join(KEYS)} are not text in base64: {exc}") from exc
    if found is None:
        raise RegistryUnavailable(f"{where} has no {KEYS[0]}, and the controller was started without")
    return found


def _decoded(data: Mapping[str, str]) -> dict[str, str]:
    return {key: base64.b64decode(data[key], validate=True).decode() for key in KEYS if data.get(key)}


def reader(find: FindRegistry, session: aiohttp.ClientSession) -> ReadAliases:
    """Where a model's aliases point."""

    async def read(model: str) -> Mapping[str, Pointer]:
        return await read_aliases(model, registry=_found(find, f"models:/{model}"), session=session)

    return read


def asker(find: FindRegistry, session: aiohttp.ClientSession) -> Ask:
    """Which version a ``models:/`` URI is."""

    async def ask(uri: str) -> ResolvedModel:
        model = await resolve(uri, registry=_found(find, uri), session=session)
        log.info("%s is %s %s", uri, model.uri, model.digest)
        return model

    return ask


def _found(find: FindRegistry, subject: str) -> RegistryAddress:
    try:
        return find()
    except RegistryUnavailable as exc:
        raise RegistryUnavailable(f"{subject}: {exc}") from exc
