"""Darknet models, read strictly, compiled to ONNX and run: cfg + weights + names → boxes in a photo."""

from model_wrappers.darknet.boxes import Box, Detection
from model_wrappers.darknet.check import NetworkSummary, check, compile_onnx
from model_wrappers.darknet.detector import Detector
from model_wrappers.darknet.errors import (
    CfgError,
    DarknetError,
    EngineError,
    InputError,
    ModelFolderError,
    NamesError,
    WeightsError,
)
from model_wrappers.darknet.folder import ModelFolder, load_model_folder
from model_wrappers.darknet.letterbox import Size, letterbox

__all__ = [
    "Box",
    "CfgError",
    "DarknetError",
    "Detection",
    "Detector",
    "EngineError",
    "InputError",
    "ModelFolder",
    "ModelFolderError",
    "NamesError",
    "NetworkSummary",
    "Size",
    "WeightsError",
    "check",
    "compile_onnx",
    "letterbox",
    "load_model_folder",
]
