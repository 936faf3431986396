"""What data scientists write: component classes, the Darknet library, the MLflow flavour."""

import os

# From release 1.29 on ONNX Runtime sends names and digests of models to Microsoft, unless this is set before its import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
