"""Prepackaged servers: which image serves an implementation (contract section 5), and which come along."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from slipway import __version__
from slipway.contract.causes import Cause, with_paths
from slipway.contract.sdep import SeldonDeployment

Servers = Mapping[str, str | Mapping[str, str]]
"""Implementation → its image, or its image by protocol."""

SHIPPED: Mapping[str, str] = {
    "DARKNET_SERVER": f"slipway/darknet-server:{__version__}",
    "MLFLOW_SERVER": f"slipway/mlflow-server:{__version__}",
    "ONNX_SERVER": f"slipway/onnx-server:{__version__}",
    "SKLEARN_SERVER": f"slipway/sklearn-server:{__version__}",
    "XGBOOST_SERVER": f"slipway/xgboost-server:{__version__}",
}
"""Those whose images this repository makes: each speaks the seldon protocol and V2."""

CLUSTER_ONLY = ("HUGGINGFACE_SERVER", "TEMPO_SERVER", "TENSORFLOW_SERVER", "TRITON_SERVER")
"""Those that others publish as container images."""

UNPICKLING = frozenset({"MLFLOW_SERVER", "SKLEARN_SERVER"})
"""Those whose models are, or may hold, pickles: loading one runs whatever code is in it."""

NOT_TENSORFLOW = frozenset({*SHIPPED, "HUGGINGFACE_SERVER"})
V2_ONLY = frozenset({"HUGGINGFACE_SERVER", "TEMPO_SERVER", "TRITON_SERVER"})
V2_NAMES = {"v2": "kfserving", "kfserving": "v2"}
PROTOCOLS = ("seldon", "tensorflow", "v2", "kfserving")


def image_of(servers: Servers, implementation: str, protocol: str) -> str:
    """Empty where none is configured. ``v2`` and ``kfserving`` stand in for each other."""
    entry = servers.get(implementation, "")
    if implementation in V2_ONLY and protocol not in V2_NAMES:
        return ""
    if isinstance(entry, str):
        return entry
    protocol = protocol or "seldon"
    return entry.get(protocol) or entry.get(V2_NAMES.get(protocol, ""), "")


def parse_servers(loaded: Any) -> dict[str, str | dict[str, str]]:
    """From YAML: ``SKLEARN_SERVER: image``, or ``SKLEARN_SERVER: {seldon: image, v2: image}``.

    Raises ValueError with the entry at fault.
    """
    if not isinstance(loaded, dict):
        raise ValueError("a mapping of implementation to image is expected")  # noqa: TRY004  - one error kind
    for name, entry in loaded.items():
        by_protocol = {"seldon": entry} if isinstance(entry, str) else entry
        if not isinstance(name, str) or not isinstance(by_protocol, dict):
            raise ValueError(f"{name!r}: an image is expected, or images by protocol")  # noqa: TRY004  - one error kind
        for protocol, image in by_protocol.items():
            if protocol not in PROTOCOLS or not isinstance(image, str) or not image:
                raise ValueError(f"{name}: {protocol!r}: an image for one of {', '.join(PROTOCOLS)} is expected")
    return loaded


def why_no_image(implementation: str, protocol: str, servers: Servers) -> str:
    """Why a node without an image of its own cannot be served."""
    if implementation in servers:
        only = "; it speaks v2 only" if implementation in V2_ONLY else ""
        return f"{implementation} has no image for protocol {protocol or 'seldon'}{only}"
    known = ", ".join(sorted(servers)) or "none"
    if implementation in CLUSTER_ONLY:
        return (
            f"{implementation} is a container image that others publish, and one machine runs none; on a cluster the "
            f"controller is told it by --predictor-servers (known here: {known})"
        )
    return f"no image, and {implementation} is no known server ({known})"


def cluster_only(sdep: SeldonDeployment) -> Iterator[Cause]:
    """Nodes that one machine cannot serve: it runs no container images."""
    for index, predictor in enumerate(sdep.predictors):
        for node, where in with_paths(predictor.graph, f"spec.predictors[{index}].graph"):
            if node.implementation in CLUSTER_ONLY:
                text = (
                    f"node {node.name!r}: {node.implementation} runs from a container image that others publish: on a "
                    "cluster, with --predictor-servers of its controller; one machine runs no container images. Here "
                    f"there are {', '.join(SHIPPED)}"
                )
                yield Cause(where, text)
