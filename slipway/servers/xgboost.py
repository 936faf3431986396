"""XGBOOST_SERVER: a booster in ``model.bst``, ``model.json`` or ``model.ubj``. None of these forms is a pickle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from slipway.servers.base import ModelServer
from slipway.servers.errors import ModelFolderError, answer_of, mismatch
from slipway.servers.rows import Array, check_features, columns_of, in_order, rows_of
from slipway.servers.threads import thread_count

FILES = ("model.bst", "model.json", "model.ubj")
OUTPUT = "predict"


class XgboostServer(ModelServer):
    """``Booster.predict`` of the rows: one number each, or one per class where the objective says so."""

    platform = "xgboost"

    def __init__(self, model_uri: str | None = None) -> None:
        super().__init__(model_uri)
        self._booster: Any = None

    def load(self) -> None:
        """Raises ModelFolderError where there is no booster."""
        import xgboost

        super().load()
        path = self.folder.first_of(FILES)
        booster = xgboost.Booster({"nthread": thread_count()})
        try:
            booster.load_model(bytearray(path.read_bytes()))  # of a file's name it would believe the ending
        except (xgboost.core.XGBoostError, ValueError, TypeError) as exc:
            raise ModelFolderError(f"{path}: XGBoost {xgboost.__version__} cannot read it: {exc}") from exc
        self._booster = booster

    def predict(self, X: Any, names: Sequence[Any], meta: Mapping[str, Any] | None = None) -> Any:
        """``X``: rows of numbers. Raises ServingError 400 for others, 500 for what XGBoost raises."""
        import xgboost

        rows = rows_of(X)
        check_features(rows, self._booster.num_features())
        wanted = self._booster.feature_names
        table = _numbers(in_order(rows, names, wanted) if wanted else rows)
        types = self._booster.feature_types
        return answer_of(
            lambda: self._booster.predict(xgboost.DMatrix(table, feature_names=wanted, feature_types=types))
        )

    def predict_named(
        self, tensors: Mapping[str, Array], names: Sequence[Any], outputs: Sequence[str], meta: Mapping[str, Any]
    ) -> dict[str, Any]:
        """V2: one tensor of rows, or a column each; the output is called what the client calls it."""
        if len(outputs) > 1:
            raise mismatch(f"{len(outputs)} outputs are asked for, there is one: {OUTPUT}")
        rows, columns = columns_of(tensors)
        return {outputs[0] if outputs else OUTPUT: self.predict(rows, columns or names)}


def _numbers(rows: Array) -> Array:
    """Raises ServingError 400 for texts. None is a missing value, as in XGBoost's own tables."""
    if rows.dtype.kind in "biuf":
        return rows
    if rows.dtype.kind not in "OUS":
        raise mismatch(f"rows of numbers are expected, found {rows.dtype}")
    try:
        return rows.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as exc:
        raise mismatch(f"rows of numbers are expected: {exc}") from exc
