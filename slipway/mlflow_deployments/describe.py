"""A SeldonDeployment → what ``list_deployments`` and ``get_deployment`` say of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slipway.mlflow_deployments.predictors import model_uri


def describe(obj: Mapping[str, Any], *, gateway: str) -> dict[str, Any]:
    """Name, state, address, and each predictor with its model and its declared and effective percentage."""
    meta, status = obj["metadata"], obj.get("status") or {}
    found = {
        "name": meta["name"],
        "namespace": meta["namespace"],
        "state": status.get("state") or "Creating",
        "url": address(gateway, meta["namespace"], meta["name"]),
        "predictors": [_predictor(one, status) for one in obj["spec"]["predictors"]],
    }
    return {**found, "description": status["description"]} if status.get("description") else found


def address(gateway: str, namespace: str, name: str) -> str:
    """Where ``slipway.client`` asks it."""
    return f"{gateway}/seldon/{namespace}/{name}"


def _predictor(predictor: Mapping[str, Any], status: Mapping[str, Any]) -> dict[str, Any]:
    name, traffic = predictor["name"], status.get("traffic") or {}
    seen: Mapping[str, Any] = next((one for one in status.get("predictors") or () if one.get("name") == name), {})
    model: Mapping[str, Any] = next((one for one in status.get("models") or () if one.get("predictor") == name), {})
    found = {
        "name": name,
        "model_uri": model_uri(dict(predictor)),
        "version": model.get("version"),
        "digest": model.get("digest"),
        "traffic": (traffic.get("declared") or {}).get(name, predictor.get("traffic", 0)),
        "effective_traffic": (traffic.get("effective") or {}).get(name),
        "shadow": predictor.get("shadow") or None,
        "ready": seen.get("ready", False),
        "reason": " ".join(str(seen[key]) for key in ("reason", "lastError") if seen.get(key)) or None,
    }
    return {key: value for key, value in found.items() if value is not None}
