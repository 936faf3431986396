"""Promotion and rollback of a deployment that follows an alias: the alias moves, the deployment follows, both are recorded."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from mlflow.protos import databricks_pb2 as codes

from slipway.contract.annotations import FOLLOW_ALIAS, is_true
from slipway.kube.client import Kube
from slipway.kube.errors import Temporary
from slipway.kube.kinds import SELDON_DEPLOYMENT
from slipway.mlflow_deployments.errors import DeploymentError, both_ways, invalid
from slipway.mlflow_deployments.predictors import find, main, model_uri
from slipway.mlflow_deployments.settings import DeploySettings
from slipway.mlflow_deployments.wait import POLL_S, Progress
from slipway.registry import RegistryAddress, move_alias, parse_model_reference, present_user, without_login
from slipway.release import roll_back
from slipway.release.plan import followings_of


@dataclass(frozen=True)
class Promotion:
    """``predictor`` follows ``alias`` of ``model``, which is to name ``version``: the canary's.

    ``only_from``: what the alias may name until then, as far as the deployment knows; empty where it does not yet.
    """

    predictor: str
    model: str
    alias: str
    version: str
    only_from: tuple[str, ...] = ()


def plan_promotion(obj: Mapping[str, Any], canary: str) -> Promotion | None:
    """Which alias a promotion moves; None where the main predictor follows none.

    Raises:
        DeploymentError: there is no canary, its version is not known yet, or it runs another registered model.
    """
    predictors = obj["spec"]["predictors"]
    stable = main(predictors, canary=canary)
    if not _follows(obj["spec"], stable):
        return None
    if find(predictors, canary) is None:
        raise invalid(
            f"there is no predictor {canary!r} to promote: a model with {both_ways(traffic=10)} adds it: "
            "-m MODEL_URI, in Python model_uri=…"
        )
    followed = parse_model_reference(model_uri(stable))
    models = (obj.get("status") or {}).get("models") or ()
    found = next((one for one in models if one.get("predictor") == canary), None)
    if found is None:
        raise DeploymentError(f"the version of {canary!r} is not known yet: is it Available?", codes.INVALID_STATE)
    if found["name"] != followed.name:
        raise invalid(
            f"{canary!r} runs {found['name']}, but {stable['name']!r} follows an alias of {followed.name}: "
            f"update {stable['name']!r} with -m instead"
        )
    version, named = str(found["version"]), _named(obj, stable)
    known = (*named, version) if named else ()
    return Promotion(stable["name"], followed.name, str(followed.alias), version, known)


def _named(obj: Mapping[str, Any], stable: Mapping[str, Any]) -> list[str]:
    """What the alias of ``stable`` named when the controller looked last: also what was rolled back from."""
    uri = model_uri(dict(stable))
    state = next((one for one in followings_of(obj) if one.predictor == stable["name"]), None)
    followed = [] if state is None else [one for one in state.wanted.models if one.uri == uri]
    rejected = {} if state is None else state.rejected
    return [version for one in followed for version in (one.version, rejected.get(one.node)) if version]


def _follows(spec: Mapping[str, Any], predictor: Mapping[str, Any]) -> bool:
    own = (predictor.get("annotations") or {}).get(FOLLOW_ALIAS)
    is_asked = is_true((spec.get("annotations") or {}).get(FOLLOW_ALIAS) if own is None else own)
    return is_asked and "@" in model_uri(dict(predictor))


async def move_followed_alias(
    kube: Kube, name: str, promotion: Promotion, *, namespace: str, settings: DeploySettings, progress: Progress
) -> None:
    """Move the alias and return once the predictor serves what it names now.

    Raises:
        DeploymentError: it does not serve it in time. RegistryError: the alias was not moved, MovedElsewhere where somebody
            else has moved it since the promotion was planned. KubeError.
    """
    async with aiohttp.ClientSession() as session:
        move = await move_alias(
            promotion.model,
            promotion.alias,
            promotion.version,
            who=present_user(),
            why=settings.why,
            only_from=promotion.only_from,
            registry=registry_address(),
            session=session,
        )
    progress(f"models:/{move.name}@{move.alias}: version {move.before} → {move.version}")
    await _followed(kube, name, promotion, namespace=namespace, timeout_s=settings.timeout_s)
    progress(f"{name}: {promotion.predictor} serves version {move.version}")


async def _followed(kube: Kube, name: str, promotion: Promotion, *, namespace: str, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    reason = ""
    while True:
        try:
            states = followings_of(await kube.get(SELDON_DEPLOYMENT, name, namespace=namespace))
        except Temporary as error:
            states, reason = [], str(error)
        for state in states:
            if state.predictor == promotion.predictor:
                if state.is_settled and promotion.version in state.wanted.versions.values():
                    return
                reason = f"{state.reason} {state.last_error}".strip()
        if time.monotonic() > deadline:
            raise DeploymentError(
                f"{name}: {promotion.predictor} does not serve version {promotion.version} after {timeout_s:g} s"
                f"{reason and ': '}{reason}; what served before still does: "
                f"{both_ways(rollback=True)} moves the alias back",
                codes.DEADLINE_EXCEEDED,
            )
        await asyncio.sleep(POLL_S)


async def roll_deployment_back(
    kube: Kube, name: str, *, namespace: str, settings: DeploySettings, progress: Progress
) -> None:
    """The version before serves again, and its alias names it again.

    Raises:
        ReleaseError: there is nothing to go back to, or it did not serve in time. RegistryError. KubeError.
    """
    async with aiohttp.ClientSession() as session:
        done = await roll_back(
            name,
            namespace=namespace,
            kube=kube,
            registry=registry_address(),
            session=session,
            who=present_user(),
            why=settings.why,
            predictor=settings.predictor,
            on_plan=progress,
        )
    progress(f"{name}: the version before serves after {done.switched_after_s:.2f} s")
    if done.alias_error:
        raise DeploymentError(f"{name}: {done.alias_error}", codes.TEMPORARILY_UNAVAILABLE)


def registry_address() -> RegistryAddress:
    """The one that MLflow itself is set to. Raises DeploymentError where that is no server."""
    from mlflow import get_tracking_uri

    uri = get_tracking_uri()
    address = RegistryAddress.from_env({**os.environ, "MLFLOW_TRACKING_URI": uri})
    if address is None or not uri.startswith(("http://", "https://")):
        shown = without_login(uri)[0]
        raise invalid(f"{shown} is no MLflow server: MLFLOW_TRACKING_URI names one")
    return address
