"""What a component says of itself in the Open Inference Protocol."""

from __future__ import annotations

from typing import Any

import slipway
from slipway.microservice.service import Service
from slipway.microservice.v2_calls import ServedModel
from slipway.serving.errors import ServingError
from slipway.serving.v2_rest import SERVER_EXTENSIONS


def served_model(service: Service) -> ServedModel:
    """Names, version and outputs, from the component's place in its graph and from its metadata."""
    own = service.hooks.identity.unit or service.hooks.component.name
    try:
        metadata = service.metadata
    except ServingError:
        return ServedModel((own,))  # metadata that does not fit has its own answer; inferences go on
    described = str(metadata["name"])
    versions = _versions(metadata)
    return ServedModel(
        names=(own, described) if described and described != own else (own,),
        version=versions[0] if versions else "",
        outputs=tuple(entry["name"] for entry in _tensors(metadata["outputs"]) if entry["name"]),
    )


def server_metadata() -> dict[str, Any]:
    return {"name": "slipway", "version": slipway.__version__, "extensions": list(SERVER_EXTENSIONS)}


def model_metadata(service: Service) -> dict[str, Any]:
    """Name, versions, platform and tensors; messages of the seldon protocol are none.

    Raises ServingError 500 MICROSERVICE_BAD_METADATA where the component's metadata does not fit.
    """
    metadata = service.metadata
    return {
        "name": served_model(service).names[0],
        "versions": _versions(metadata),
        "platform": metadata["platform"],
        "inputs": _tensors(metadata["inputs"]),
        "outputs": _tensors(metadata["outputs"]),
    }


def _versions(metadata: dict[str, Any]) -> list[str]:
    return [version for version in metadata["versions"] if version]


def _tensors(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"name": entry.get("name", ""), "datatype": entry["datatype"], "shape": entry.get("shape", [])}
        for entry in entries
        if "datatype" in entry
    ]
