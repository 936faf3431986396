"""SKLEARN_SERVER: a scikit-learn estimator in ``model.joblib``, or in ``model.skops`` as MLflow writes it.

Over the seldon protocol its default method is ``predict_proba``, over V2 it is ``predict``, as in Seldon's two servers.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slipway.servers.base import ModelServer
from slipway.servers.errors import MODEL_HAS_NO_METHOD, ModelFolderError, answer_of, mismatch
from slipway.servers.rows import Array, check_features, columns_of, in_order, rows_of
from slipway.serving.errors import ServingError

SKOPS = "model.skops"
FILES = ("model.joblib", "model.pickle", "model.pkl", SKOPS)
METHODS = ("predict_proba", "predict", "decision_function")
SELDON_METHOD, V2_METHOD = "predict_proba", "predict"

log = logging.getLogger(__name__)


class SklearnServer(ModelServer):
    """``method``: one of METHODS, for both protocols; without it each has its own default."""

    platform = "sklearn"

    def __init__(self, model_uri: str | None = None, method: str | None = None) -> None:
        super().__init__(model_uri)
        if method is not None and method not in METHODS:
            raise ValueError(f"parameter method: {method!r} is not one of {', '.join(METHODS)}")
        self.method = method
        self._model: Any = None

    def load(self) -> None:
        """Unpickles the estimator (a ``.skops`` is no pickle). Raises ModelFolderError where there is none, or it has not the wanted method."""
        super().load()
        path = self.folder.first_of(FILES)
        self._model = load_estimator(path)
        if self.method and not hasattr(self._model, self.method):
            raise ModelFolderError(f"{path}: {_missing(self._model, self.method)}")

    def predict(self, X: Any, names: Sequence[Any], meta: Mapping[str, Any] | None = None) -> Any:
        """``X``: rows of features. Raises ServingError 400 for other shapes, 500 for what the model raises."""
        return self._call(self.method or SELDON_METHOD, rows_of(X), names)

    def predict_named(
        self, tensors: Mapping[str, Array], names: Sequence[Any], outputs: Sequence[str], meta: Mapping[str, Any]
    ) -> dict[str, Any]:
        """V2: one tensor of rows, or a column each; ``outputs`` may name several of METHODS."""
        wanted = list(dict.fromkeys(outputs)) or [self.method or V2_METHOD]
        for name in wanted:
            if name not in METHODS:
                raise mismatch(f"output {name[:80]!r} is not one of {', '.join(METHODS)}")
        rows, columns = columns_of(tensors)
        return {name: self._call(name, rows, columns or names) for name in wanted}

    def _call(self, method: str, rows: Array, names: Sequence[Any]) -> Any:
        if not hasattr(self._model, method):
            raise ServingError(_missing(self._model, method), status_code=500, reason=MODEL_HAS_NO_METHOD)
        check_features(rows, getattr(self._model, "n_features_in_", None))
        return answer_of(lambda: getattr(self._model, method)(self._table(rows, names)))

    def _table(self, rows: Array, names: Sequence[Any]) -> Any:
        """A model fitted on named columns gets them back: by the request's names where it has them all."""
        wanted = getattr(self._model, "feature_names_in_", None)
        if wanted is None:
            return rows
        import pandas as pd

        return pd.DataFrame(in_order(rows, names, list(wanted)), columns=list(wanted)).infer_objects()


def load_estimator(path: Path) -> Any:
    """Unpickle; what scikit-learn says of another version that wrote the file goes to the log.

    Raises ModelFolderError where it does not load: a package is missing, another version wrote it, or a ``.skops`` holds
    types that are not scikit-learn's or numpy's.
    """
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            model = _loaded(path)
        except Exception as exc:
            raise ModelFolderError(f"{path}: does not load: {type(exc).__name__}: {exc}") from exc
    for text in dict.fromkeys(str(one.message) for one in said):
        log.warning("%s: %s", path, text)
    return model


def _loaded(path: Path) -> Any:
    if path.name == SKOPS:
        import skops.io

        return skops.io.load(path)
    import joblib

    return joblib.load(path)


def _missing(model: Any, method: str) -> str:
    there = [name for name in METHODS if hasattr(model, name)]
    return f"{type(model).__name__} has no {method}: set the parameter method to {' or '.join(there) or 'nothing: it has none'}"
