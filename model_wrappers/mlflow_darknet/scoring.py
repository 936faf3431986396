"""The pyfunc form: what ``mlflow.pyfunc``, ``mlflow models serve`` and ``mlflow models predict`` call."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_wrappers import darknet, photo
from model_wrappers.darknet.thresholds import check_share
from model_wrappers.errors import ComponentError
from model_wrappers.model_sums import verify_listed

if TYPE_CHECKING:
    import pandas as pd

INPUT_COLUMN = "image"
OUTPUT_COLUMN = "detections"
CONFIDENCE, IOU = 0.25, 0.45


def signature() -> Any:
    """One photo a row in; its detections, as in the served reply, out; both thresholds as parameters of the call."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import Array, Object, Property

    box = Object([Property(side, DataType.double) for side in ("x_min", "y_min", "x_max", "y_max")])
    detection = Object(
        [
            Property("label", DataType.string),
            Property("class_id", DataType.long),
            Property("confidence", DataType.double),
            Property("box", box),
        ]
    )
    return ModelSignature(
        inputs=Schema([ColSpec(DataType.binary, INPUT_COLUMN)]),
        outputs=Schema([ColSpec(Array(detection), OUTPUT_COLUMN)]),
        params=ParamSchema(
            [ParamSpec("confidence", DataType.double, CONFIDENCE), ParamSpec("iou", DataType.double, IOU)]
        ),
    )


def load_pyfunc(path: str) -> PhotoModel:
    """MLflow's hook; ``path`` is the data folder. Raises ``SumsError`` when a file is not the one that was saved."""
    folder = Path(path).parent
    verify_listed(folder)
    return PhotoModel(darknet.Detector(folder, confidence=CONFIDENCE, iou=IOU))


class PhotoModel:
    """A table of photos → a table of detections."""

    def __init__(self, detector: darknet.Detector) -> None:
        self.detector = detector

    def predict(self, model_input: pd.DataFrame, params: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """Column ``detections`` for the column ``image``: an encoded photo a row, as bytes or base64 text.

        ``params``: ``confidence`` and ``iou`` of this call, 0 to 1.

        Raises:
            MlflowException: INVALID_PARAMETER_VALUE (HTTP 400) naming the parameter, or the row that is no photo.
        """
        import pandas as pd

        thresholds = {name: _share(name, value) for name, value in (params or {}).items()}
        rows = enumerate(model_input[INPUT_COLUMN])
        return pd.DataFrame({OUTPUT_COLUMN: [self._detections(row, value, thresholds) for row, value in rows]})

    def _detections(self, row: int, value: object, thresholds: Mapping[str, float]) -> list[dict[str, Any]]:
        if not isinstance(value, bytes | bytearray | memoryview | str):  # bytes(10**12) would be as many zeros
            raise _invalid(f"{INPUT_COLUMN}, row {row}: bytes or base64 text is expected, found {type(value).__name__}")
        try:
            encoded = base64.b64decode(value, validate=True) if isinstance(value, str) else bytes(value)
            pixels = photo.decode(encoded)
        except binascii.Error as exc:
            raise _invalid(f"{INPUT_COLUMN}, row {row}: is not base64: {exc}") from exc
        except ComponentError as exc:
            raise _invalid(f"{INPUT_COLUMN}, row {row}: {exc}") from exc
        return [detection.to_json() for detection in self.detector.detect(pixels, **thresholds)]


def _share(name: str, value: Any) -> float:
    try:
        return check_share(f"params.{name}", float(value))
    except (TypeError, ValueError) as exc:
        raise _invalid(str(exc)) from exc


def _invalid(message: str) -> Exception:
    from mlflow.exceptions import MlflowException

    return MlflowException.invalid_parameter_value(message)  # type: ignore[no-any-return]
