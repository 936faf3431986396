"""A compiled graph in 8-bit integers: smaller, on some machines faster, and never quite the same answers.

Static quantisation by ONNX Runtime: activations to uint8 over the range that calibration photos show, kernels to int8 per
channel. The convolution before each head stays in float32: there a step of the scale is a visible step of a box.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from model_wrappers.darknet.compiler import INPUT_NAME
from model_wrappers.darknet.engines.graph import INT8, PRECISION_KEY
from model_wrappers.darknet.errors import EngineError
from model_wrappers.darknet.layers import Network
from model_wrappers.darknet.letterbox import Pixels

MAX_CALIBRATION_PHOTOS = 64
OPERATORS = (
    "Add",
    "Concat",
    "Conv",
    "LeakyRelu",
    "MaxPool",
    "Relu",
    "Resize",
)  # the scaling of the input stays as it is


class _Photos(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime is untyped
    def __init__(self, photos: Sequence[Pixels]) -> None:
        self._left: Iterator[Pixels] = iter(photos)

    def get_next(self) -> dict[str, Any] | None:
        pixels = next(self._left, None)
        return None if pixels is None else {INPUT_NAME: np.ascontiguousarray(pixels[None])}


def quantise(graph: bytes, network: Network, photos: Sequence[Pixels]) -> bytes:
    """``graph`` of ``network`` in 8 bits; ``photos`` are letterboxed ones like those it will see.

    Raises:
        EngineError: no photo, or more than ``MAX_CALIBRATION_PHOTOS``.
    """
    if not 0 < len(photos) <= MAX_CALIBRATION_PHOTOS:
        raise EngineError(f"{len(photos)} calibration photos: 1 to {MAX_CALIBRATION_PHOTOS} are expected")
    heads = [f"layer_{head.inputs[0]}_conv" for head in network.heads]
    with tempfile.TemporaryDirectory(prefix="quantise-") as folder:
        source, shaped, target = (Path(folder) / f"{name}.onnx" for name in ("float", "shaped", "int8"))
        source.write_bytes(graph)
        quant_pre_process(source, shaped, skip_optimization=True, skip_symbolic_shape=True)
        quantize_static(
            shaped,
            target,
            _Photos(photos),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=list(OPERATORS),
            per_channel=True,
            nodes_to_exclude=heads,
        )
        model = onnx.load(target)
    properties = {entry.key: entry.value for entry in onnx.load_from_string(graph).metadata_props}
    onnx.helper.set_model_props(model, {**properties, PRECISION_KEY: INT8})  # of which files it was made
    data: bytes = model.SerializeToString(deterministic=True)
    return data
