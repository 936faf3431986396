"""MLFLOW_SERVER: an MLflow model folder of any flavour that has a pyfunc and whose packages are in this image."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from slipway.servers.base import ModelServer
from slipway.servers.errors import ModelFolderError, answer_of, mismatch
from slipway.servers.frames import frame_of, typed_frame
from slipway.servers.model_requirements import check_requirements
from slipway.servers.rows import Array, as_column, rows_of

FILE = "MLmodel"
OUTPUT = "predict"
CLIENT_ERRORS = frozenset({"INVALID_PARAMETER_VALUE", "BAD_REQUEST"})
"""Codes of MLflow's own exceptions for an input that is not the signature's."""

log = logging.getLogger(__name__)


class MlflowServer(ModelServer):
    """``xtype``: ``ndarray`` gives the model the array, any other word a DataFrame whose columns are the request's names.

    Without it a model with a signature of named columns gets a DataFrame, another one the array. ``requirements``:
    ``compatible`` (default), ``exact`` or ``any``, see ``check_requirements``.
    """

    platform = "mlflow"

    def __init__(
        self, model_uri: str | None = None, xtype: str | None = None, requirements: str = "compatible"
    ) -> None:
        super().__init__(model_uri)
        self.xtype, self.requirements = xtype, requirements
        self._model: Any = None
        self._columns: list[str] = []  # of the signature
        self._last = threading.local()  # class_names follows predict() on the same thread

    def load(self) -> None:
        """Compare the model's requirements with this image, then load. Raises ModelFolderError."""
        super().load()
        path = self.folder.first_of([FILE]).parent
        for line in check_requirements(path, policy=self.requirements):
            log.warning("%s", line)
        self._model = _load(path)
        schema = self._model.metadata.get_input_schema()
        if schema is not None and not schema.is_tensor_spec() and schema.has_input_names():
            self._columns = schema.input_names()

    @property
    def class_names(self) -> list[str]:
        """The columns of a DataFrame that the model just answered. AttributeError where it was none: names by position."""
        found: list[str] | None = getattr(self._last, "names", None)
        if found is None:
            raise AttributeError("class_names")
        return found

    def predict(self, X: Any, names: Sequence[Any], meta: Mapping[str, Any] | None = None) -> Any:
        """``X``: rows, an object of columns (jsonData), or what else the model takes.

        Raises ServingError 400 where it is not the signature's, 500 for what the model raises.
        """
        result = self._ask(self._input(X, names))
        self._last.names = [str(name) for name in result.columns] if hasattr(result, "columns") else None
        if isinstance(result, Mapping):
            return {str(name): _plain(value) for name, value in result.items()}
        return _array(result)

    def predict_named(
        self, tensors: Mapping[str, Array], names: Sequence[Any], outputs: Sequence[str], meta: Mapping[str, Any]
    ) -> dict[str, Any]:
        """V2: one tensor is ``X``; several are columns, or the inputs of a model with a signature of tensors."""
        result = self._ask(self._named_input(tensors, names))
        if hasattr(result, "columns"):
            return {str(name): _array(result[name]) for name in result.columns}
        if isinstance(result, Mapping):
            return {str(name): _array(value) for name, value in result.items()}
        return {outputs[0] if len(outputs) == 1 else OUTPUT: _array(result)}

    def _input(self, X: Any, names: Sequence[Any]) -> Any:
        if isinstance(X, (bytes, str)):
            return X  # a model of texts or photos takes them as they are
        if isinstance(X, Mapping):
            return frame_of(X, self._schema) if self._wants_frame else X
        rows = rows_of(X)
        return typed_frame(rows, names, self._columns, self._schema) if self._wants_frame else rows

    def _named_input(self, tensors: Mapping[str, Array], names: Sequence[Any]) -> Any:
        if len(tensors) == 1 and not (set(tensors) <= set(self._columns)):
            tensor = next(iter(tensors.values()))
            is_one_item = tensor.dtype.kind == "O" and tensor.size == 1
            return self._input(tensor.ravel()[0] if is_one_item else tensor, names)
        if self._schema is not None and self._schema.is_tensor_spec():
            return dict(tensors)
        return frame_of({name: as_column(name, tensor) for name, tensor in tensors.items()}, self._schema)

    @property
    def _wants_frame(self) -> bool:
        return self.xtype != "ndarray" if self.xtype is not None else bool(self._columns)

    @property
    def _schema(self) -> Any:
        return self._model.metadata.get_input_schema()

    def _ask(self, given: Any) -> Any:
        from mlflow.exceptions import MlflowException

        def ask() -> Any:
            try:
                return self._model.predict(given)
            except MlflowException as exc:
                if exc.error_code in CLIENT_ERRORS:
                    raise mismatch(exc.message) from exc
                raise

        return answer_of(ask)


def _load(path: Path) -> Any:
    import mlflow.pyfunc

    try:
        return mlflow.pyfunc.load_model(str(path))
    except Exception as exc:  # whatever its loader raises: the flavours have no common error
        raise ModelFolderError(f"{path}: does not load: {type(exc).__name__}: {exc}") from exc


def _array(value: Any) -> Any:
    """Frames, series, sparse matrices and lists as arrays; texts, bytes and objects as they are."""
    if isinstance(value, (np.ndarray, str, bytes, dict)):
        return value
    if hasattr(value, "to_numpy"):
        return value.to_numpy()
    if hasattr(value, "toarray"):
        return value.toarray()
    return np.asarray(value)


def _plain(value: Any) -> Any:
    found = _array(value)
    return found.tolist() if isinstance(found, np.ndarray) else found
