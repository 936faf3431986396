"""Darknet ``.weights`` files: little-endian int32 major, minor, revision, then ``seen``, then float32 to the end.

``seen`` (pictures trained on) is uint64 when major * 10 + minor >= 2, else uint32 (pjreddie, ``load_weights_upto``). Per
convolution: biases, then with batch norm scales, means and variances, then the kernels.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model_wrappers.darknet.errors import WeightsError
from model_wrappers.darknet.layers import Convolutional, Layer, Network
from model_wrappers.darknet.mistaken import HEAD_BYTES, mistaken_for
from model_wrappers.regular_file import open_regular

Floats = npt.NDArray[np.float32]

MAX_WEIGHTS_BYTES = 2_000_000_000  # a compiled graph is one protobuf message, which ends at 2 GiB
MAX_VERSION = 999  # above it Darknet takes the kernels for transposed, which no published file is
FLOAT_BYTES = 4
VERSION_BYTES = 12


@dataclass(frozen=True)
class WeightsHeader:
    """The version that wrote the file and the pictures it had seen."""

    major: int = 0
    minor: int = 2
    revision: int = 5
    seen: int = 0

    @property
    def is_wide(self) -> bool:
        return self.major * 10 + self.minor >= 2

    @property
    def size_bytes(self) -> int:
        return VERSION_BYTES + (8 if self.is_wide else 4)

    def pack(self) -> bytes:
        return struct.pack("<iiiQ" if self.is_wide else "<iiiI", self.major, self.minor, self.revision, self.seen)


@dataclass(frozen=True, eq=False)
class Parameters:
    """What one convolution learned; ``scales``, ``means``, ``variances`` are empty without batch norm."""

    biases: Floats  # [filters]
    scales: Floats  # [filters] or [0]
    means: Floats
    variances: Floats
    kernels: Floats  # [filters, channels / groups, size, size]


@dataclass(frozen=True, eq=False)
class Weights:
    """A whole file; ``parameters`` is keyed by layer index."""

    header: WeightsHeader
    parameters: dict[int, Parameters]


def kernel_shape(network: Network, layer: Layer) -> tuple[int, int, int, int]:
    """[filters, channels / groups, size, size] of a convolutional layer."""
    op = layer.op
    assert isinstance(op, Convolutional)  # noqa: S101  - callers pick convolutions
    return op.filters, network.source_shape(layer.inputs[0]).channels // op.groups, op.size, op.size


def count_floats(network: Network) -> int:
    """Floats that the cfg implies."""
    return sum(sum(_lengths(network, layer)) for layer in _convolutions(network))


def load_weights(path: Path, network: Network) -> Weights:
    """Read a weights file and check it to the byte against ``network``. Raises ``WeightsError``."""
    name = str(path)
    expected_floats = count_floats(network)
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            head = file.read(HEAD_BYTES)
            header = _parse_header(name, head, size)
            _check_size(name, size, header, expected_floats, network)
            file.seek(header.size_bytes)
            floats = np.fromfile(file, "<f4", expected_floats).astype(np.float32, copy=False)
    except OSError as exc:
        raise WeightsError(name, f"cannot be read: {exc.strerror}") from exc
    if len(floats) != expected_floats:
        raise WeightsError(name, "was cut while it was being read")
    weights = Weights(header, _split(floats, network))
    _check_values(name, weights)
    return weights


def write_weights(path: Path, network: Network, weights: Weights) -> None:
    """Write a file that Darknet and ``load_weights`` read.

    Raises:
        WeightsError: an array is missing or has the wrong shape; nothing is written then.
    """
    written: list[Floats] = []
    for layer in _convolutions(network):
        found = weights.parameters.get(layer.index)
        if found is None:
            raise WeightsError(str(path), f"layer {layer.index} [convolutional] has no parameters")
        arrays = (found.biases, found.scales, found.means, found.variances, found.kernels)
        lengths = _lengths(network, layer)
        if tuple(array.size for array in arrays) != lengths or found.kernels.shape != kernel_shape(network, layer):
            sizes = tuple(array.size for array in arrays)
            raise WeightsError(
                str(path), f"layer {layer.index} [convolutional]: expected {lengths} floats, found {sizes}"
            )
        written.extend(arrays)
    with path.open("wb") as file:
        file.write(weights.header.pack())
        for array in written:
            file.write(np.ascontiguousarray(array, "<f4").data)


def _convolutions(network: Network) -> list[Layer]:
    return [layer for layer in network.layers if isinstance(layer.op, Convolutional)]


def _lengths(network: Network, layer: Layer) -> tuple[int, int, int, int, int]:
    """Floats of biases, scales, means, variances, kernels in file order."""
    filters, channels, rows, columns = kernel_shape(network, layer)
    assert isinstance(layer.op, Convolutional)  # noqa: S101
    norm = filters if layer.op.batch_normalize else 0
    return filters, norm, norm, norm, filters * channels * rows * columns


def _parse_header(name: str, head: bytes, size: int) -> WeightsHeader:
    mistake = mistaken_for(head, "weights")
    if mistake:
        raise WeightsError(name, mistake)
    if size > MAX_WEIGHTS_BYTES:
        raise WeightsError(name, f"has {size} bytes: at most {MAX_WEIGHTS_BYTES} are read")
    if len(head) < VERSION_BYTES + 4:
        raise WeightsError(name, f"has {size} bytes: not even a header (16 or 20 bytes) fits")
    major, minor, revision = struct.unpack_from("<iii", head)
    if not all(0 <= number <= MAX_VERSION for number in (major, minor, revision)):
        raise WeightsError(name, f"starts with version {major}.{minor}.{revision}: not a Darknet weights file")
    wide = WeightsHeader(major, minor).is_wide
    if wide and len(head) < VERSION_BYTES + 8:
        raise WeightsError(name, f"has {size} bytes: the header of version {major}.{minor} alone has 20")
    (seen,) = struct.unpack_from("<Q" if wide else "<I", head, VERSION_BYTES)
    return WeightsHeader(major, minor, revision, seen)


def _check_size(name: str, size: int, header: WeightsHeader, floats: int, network: Network) -> None:
    expected = header.size_bytes + FLOAT_BYTES * floats
    if size == expected:
        return
    part = _end_of(network, header, size)
    cause = f"cut off in or before {part}, or of another cfg" if part else "longer than the cfg implies: of another cfg"
    raise WeightsError(
        name, f"expected {expected} bytes, found {size} ({network.path} implies {floats} floats): {cause}"
    )


def _end_of(network: Network, header: WeightsHeader, size: int) -> str:
    """The layer in which a file of ``size`` bytes ends; empty when it reaches behind the last."""
    offset = header.size_bytes
    for layer in _convolutions(network):
        offset += FLOAT_BYTES * sum(_lengths(network, layer))
        if size < offset:
            return f"layer {layer.index} [convolutional]"
    return ""


def _split(floats: Floats, network: Network) -> dict[int, Parameters]:
    offset = 0
    parameters = {}
    for layer in _convolutions(network):
        arrays = []
        for length in _lengths(network, layer):
            arrays.append(floats[offset : offset + length])
            offset += length
        arrays[-1] = arrays[-1].reshape(kernel_shape(network, layer))
        parameters[layer.index] = Parameters(*arrays)
    return parameters


def _check_values(name: str, weights: Weights) -> None:
    """Numbers that would turn every later output into NaN are refused here, where their place is known."""
    for index, found in weights.parameters.items():
        for part in ("biases", "scales", "means", "variances", "kernels"):
            bad = np.argwhere(~np.isfinite(getattr(found, part)))
            if len(bad):
                raise WeightsError(
                    name, f"layer {index} [convolutional]: {part}{bad[0].tolist()} is not a finite number"
                )
        if found.variances.size and found.variances.min() < 0:
            at = int(found.variances.argmin())
            raise WeightsError(name, f"layer {index} [convolutional]: variances[{at}] is below 0: of another cfg?")
