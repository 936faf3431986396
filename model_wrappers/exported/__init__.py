"""Detectors of other families, exported to ONNX: a folder with the graph, the names and a few lines that say how to read it."""

from model_wrappers.exported.detector import ExportedDetector
from model_wrappers.exported.layout import Layout, LayoutError, load_layout

__all__ = ["ExportedDetector", "Layout", "LayoutError", "load_layout"]
