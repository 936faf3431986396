"""One inference of the Open Inference Protocol, whatever wire it came on."""

from __future__ import annotations

from collections.abc import Mapping, Sized
from dataclasses import dataclass, field
from typing import Any

from slipway.serving.v2_tensors import MAX_TENSORS, Tensor, bad

CHILD = "slipway_child"
"""Parameter of an input of a combiner over gRPC: which child's answer it is of."""
BINARY_OUTPUT = "binary_data_output"
"""Request parameter: every output as binary data."""
BINARY_DATA = "binary_data"
"""Parameter of a requested output: that one as binary data."""
BINARY_SIZE = "binary_data_size"
"""Parameter of a tensor: its data are so many bytes behind the JSON."""
WIRE_PARAMETERS = frozenset({BINARY_OUTPUT, BINARY_DATA, BINARY_SIZE})
"""Parameters about a message's own form, which mean nothing in the next one."""
MAX_PARAMETERS = 1024
"""Parameters of one message or tensor."""
NOT_OFFERED = ("shared_memory_region", "classification")
"""Parameters of extensions that change what data means, and are not offered."""


@dataclass(frozen=True)
class RequestedOutput:
    """An output that the client names; ``binary`` None: as the request says for all."""

    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def binary(self) -> bool | None:
        wanted = self.parameters.get(BINARY_DATA)
        return wanted if isinstance(wanted, bool) else None


@dataclass(frozen=True)
class InferRequest:
    """``inputs`` of one inference. ``is_raw``: they came as bytes, so a gRPC answer goes as bytes too."""

    inputs: tuple[Tensor, ...]
    id: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    outputs: tuple[RequestedOutput, ...] = ()
    model_name: str = ""
    model_version: str = ""
    is_raw: bool = False

    def wants_binary(self, output: str) -> bool:
        """Whether the REST answer carries this output as binary data."""
        for requested in self.outputs:
            if requested.name == output and requested.binary is not None:
                return requested.binary
        return self.parameters.get(BINARY_OUTPUT) is True


@dataclass(frozen=True)
class InferResponse:
    outputs: tuple[Tensor, ...]
    id: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    model_name: str = ""
    model_version: str = ""


def without_wire(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if name not in WIRE_PARAMETERS}


def check_parameters(parameters: Mapping[str, Any], what: str) -> None:
    """ServingError 400 for too many, and for one of an extension that is not offered."""
    if len(parameters) > MAX_PARAMETERS:
        raise bad(f"{what}: {len(parameters)} parameters, the limit is {MAX_PARAMETERS}")
    for name in NOT_OFFERED:
        if name in parameters:
            raise bad(f"{what}: the parameter {name} belongs to an extension that is not offered here")


def check_count(tensors: Sized, what: str) -> None:
    """ServingError 400 for too many tensors."""
    if len(tensors) > MAX_TENSORS:
        raise bad(f"{what}: {len(tensors)} tensors, the limit is {MAX_TENSORS}")
