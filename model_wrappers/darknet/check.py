"""Whether a cfg, weights and names belong together, and what they are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from model_wrappers.darknet.cfg import load_network
from model_wrappers.darknet.layers import Convolutional
from model_wrappers.darknet.names import load_names
from model_wrappers.darknet.weights import count_floats, load_weights


@dataclass(frozen=True)
class NetworkSummary:
    """What a checked model is; ``seen`` counts training pictures, ``version`` is the weights header's."""

    width: int
    height: int
    classes: int
    names: tuple[str, ...]
    layers: int
    convolutions: int
    floats: int
    weights_bytes: int
    version: str
    seen: int


def check(cfg: Path, weights: Path, names: Path) -> NetworkSummary:
    """Read all three files strictly, against each other.

    Raises:
        CfgError, WeightsError, NamesError: naming file, expected and found.
    """
    network = load_network(cfg)
    header = load_weights(weights, network).header
    return NetworkSummary(
        width=network.input.width,
        height=network.input.height,
        classes=network.classes,
        names=load_names(names, network.classes),
        layers=len(network.layers),
        convolutions=sum(isinstance(layer.op, Convolutional) for layer in network.layers),
        floats=count_floats(network),
        weights_bytes=weights.stat().st_size,
        version=f"{header.major}.{header.minor}.{header.revision}",
        seen=header.seen,
    )


def compile_onnx(cfg: Path, weights: Path) -> bytes:
    """The pair as an ONNX graph, see ``compiler``. Raises ``CfgError`` or ``WeightsError``."""
    from model_wrappers.darknet.compiler import compile_files  # onnx is not loaded where a graph is served

    return compile_files(cfg, weights)
