"""What the controller makes of a manifest, by kind and name; of one with a single Deployment its parts."""

from __future__ import annotations

from typing import Any

from slipway.contract.sdep import SeldonDeployment
from slipway.controller.desired import desired
from slipway.controller.facts import Facts
from tests.contract.manifests import Manifest, node, predictor, sdep
from tests.controller.cases import SETTINGS

Object = dict[str, Any]


def objects(manifest: Manifest, **models: Any) -> dict[tuple[str, str], Object]:
    made = desired(SeldonDeployment.from_json(manifest), Facts(SETTINGS, models.get("models", {})))
    return {(obj["kind"], obj["metadata"]["name"]): obj for obj in made}


def deployment(manifest: Manifest, **models: Any) -> Object:
    (found,) = [obj for (kind, _), obj in objects(manifest, **models).items() if kind == "Deployment"]
    return found


def template(manifest: Manifest, **models: Any) -> Object:
    return deployment(manifest, **models)["spec"]["template"]


def container(manifest: Manifest, name: str = "clf") -> Object:
    return next(item for item in template(manifest)["spec"]["containers"] if item["name"] == name)


def env(manifest: Manifest, name: str = "clf") -> dict[str, str]:
    return {item["name"]: item["value"] for item in container(manifest, name)["env"]}


def initializer(**fields: Any) -> Object:
    manifest = sdep(predictor(graph=node(modelUri="s3://bucket/iris", **fields)))
    (found,) = template(manifest)["spec"]["initContainers"]
    return found
