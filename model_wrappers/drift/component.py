"""A Seldon node around a detector that watches photos and detections, and changes neither."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from model_wrappers import wire
from model_wrappers.darknet.letterbox import Size
from model_wrappers.detection_message import parse_detections
from model_wrappers.drift.divergence import chance_thresholds
from model_wrappers.drift.facts import brightness, seen
from model_wrappers.drift.histograms import BRIGHTNESS, FEATURES, OF_DETECTIONS, Bins, rows_of
from model_wrappers.drift.reference import load_reference
from model_wrappers.drift.window import Verdict, Window
from model_wrappers.errors import ComponentError
from model_wrappers.model_identity import ModelIdentity, load_identity

FILE_SCHEME = "file://"
MODEL_URI_VARIABLE = "MLSERVER_MODEL_URI"
DEFAULT_FOLDER = "/mnt/models"
MIN_WINDOW, MAX_WINDOW = 10, 100_000

FILLING, STABLE, DRIFTED, MISMATCHED, UNREAD = "filling", "stable", "drifted", "mismatched", "unread"

logger = logging.getLogger(__name__)


class DetectionDrift:
    """Compares windows of photos with the reference that the model was registered with.

    As a node of ``type: TRANSFORMER`` with ``methods: [TRANSFORM_OUTPUT]`` between ImageTransformer and detector it sees the
    pixels on their way in and the detections on their way out. As an OUTPUT_TRANSFORMER it sees no pixels, and watches all
    but the brightness. Each process watches its own photos.

    Args:
        model_uri: folder of the model with ``drift-reference.json``, as a path or ``file://``; else MLSERVER_MODEL_URI,
            which the controller sets beside a ``modelUri``, else ``/mnt/models``.
        window: photos that are compared at a time.
        false_alarm: probability of an alarm in one window of photos like the reference's, over all features together.
        confidence: the detector's own; the reference is cut at it.
    """

    def __init__(
        self,
        model_uri: str | None = None,
        window: int = 100,
        false_alarm: float = 0.01,
        confidence: float = 0.25,
    ) -> None:
        uri = model_uri or os.environ.get(MODEL_URI_VARIABLE, DEFAULT_FOLDER)
        self.folder = Path(uri.removeprefix(FILE_SCHEME))
        if type(window) is not int or not MIN_WINDOW <= window <= MAX_WINDOW:
            raise ValueError(f"window={window!r} is not a whole number from {MIN_WINDOW} to {MAX_WINDOW}")
        if not 0.001 <= false_alarm <= 0.5:
            raise ValueError(f"false_alarm={false_alarm!r} is not within 0.001..0.5")
        if not 0 <= confidence < 1:
            raise ValueError(f"confidence={confidence!r} is not within 0..1")
        self.window, self.false_alarm, self.confidence = window, false_alarm, confidence
        self.identity: ModelIdentity | None = None
        self._bins: Bins | None = None
        self._windows: tuple[Window, Window] | None = None  # of detections, and of brightness
        self._verdicts: dict[str, Verdict] = {}
        self._untold: dict[str, Verdict] = {}
        self._lock = threading.Lock()
        self._last = threading.local()  # tags() and metrics() follow their hook on the same thread

    def load(self) -> None:
        """Read the reference, and find what chance alone does. Raises DriftReferenceError."""
        self.identity = load_identity(self.folder)
        reference = load_reference(self.folder)
        if self.confidence < reference.confidence:
            raise ValueError(
                f"confidence={self.confidence}: the reference has detections above {reference.confidence} only"
            )
        self._bins = Bins.of(reference, above=self.confidence)
        rows = rows_of(reference, self._bins, above=self.confidence)
        share = self.false_alarm / len(FEATURES)  # Bonferroni: no more than false_alarm together
        thresholds = chance_thresholds(rows, window=self.window, false_alarm=share)
        totals = {feature: rows[feature].sum(axis=0) for feature in FEATURES}
        self._windows = (
            Window(self.window, {feature: totals[feature] for feature in OF_DETECTIONS}, thresholds),
            Window(self.window, {BRIGHTNESS: totals[BRIGHTNESS]}, thresholds),
        )

    def transform_input(self, X: Any, names: Sequence[str] | None = None, meta: Mapping[str, Any] | None = None) -> Any:
        """``X`` as it is. What is no wire record has no brightness here: the detector says what is wrong with it."""
        self._last.state, self._last.unread = "", 0
        bins, windows = self._ready()
        try:
            size, pixels = wire.decode(X)
        except (ComponentError, TypeError):
            self._last.unread = 1
            return X
        self._add(windows[1], bins.of_brightness(brightness(pixels, Size(*size))))
        return X

    def transform_output(
        self, X: Any, names: Sequence[str] | None = None, meta: Mapping[str, Any] | None = None
    ) -> Any:
        """``X`` as it is; tags say what was found."""
        self._last.state, self._last.unread = UNREAD, 0
        bins, windows = self._ready()
        try:
            message = parse_detections(X, reader="DetectionDrift")
        except ComponentError as exc:
            logger.warning("%s", exc)
            self._last.unread = 1
            return X
        if not self._is_of_reference(message.model):
            self._last.state = MISMATCHED
            return X
        found = seen(message.detections, message.image, above=self.confidence)
        self._add(windows[0], bins.of_detections(found))
        self._last.state = self._state()
        return X

    def _ready(self) -> tuple[Bins, tuple[Window, Window]]:
        if self._bins is None or self._windows is None:
            raise ComponentError("the reference is not loaded yet", reason="MODEL_NOT_LOADED", status_code=503)
        return self._bins, self._windows

    def _is_of_reference(self, model: Mapping[str, Any] | None) -> bool:
        """The detector's version is the one that the reference was made with; one that says nothing is believed."""
        digest = (model or {}).get("digest")
        return not digest or self.identity is None or digest == self.identity.digest

    def _add(self, window: Window, rows: Mapping[str, Any]) -> None:
        with self._lock:
            verdicts = window.add(rows)
            self._verdicts |= verdicts
            self._untold |= verdicts
        for feature, verdict in verdicts.items():
            if verdict.is_alarm:
                logger.warning(
                    "drift: %s of the last %d photos is %.4f bits from the reference, chance alone explains %.4f",
                    *(feature, self.window, verdict.divergence, verdict.threshold),
                )

    def _state(self) -> str:
        if not self._verdicts:
            return FILLING
        return DRIFTED if self.drifted else STABLE

    @property
    def drifted(self) -> list[str]:
        """The features whose last full window was an alarm."""
        return sorted(feature for feature, verdict in dict(self._verdicts).items() if verdict.is_alarm)

    def tags(self) -> dict[str, Any]:
        """``drift`` on answers: a state, and the features that drifted. Texts only: whole numbers would cost the fast wire."""
        state = self._last.__dict__.get("state", "")
        return {"drift": {"state": state, "features": self.drifted}} if state else {}

    def metrics(self) -> list[dict[str, Any]]:
        """The verdicts of a window that has just become full, and what could not be read."""
        told: list[dict[str, Any]] = []
        if self._last.__dict__.pop("unread", 0):
            told.append({"type": "COUNTER", "key": "drift_unread", "value": 1})
        if not self._last.__dict__.get("state"):
            return told  # on the way in there is a record: metrics in its reply would make it JSON
        with self._lock:
            untold, self._untold = self._untold, {}
        for feature, verdict in sorted(untold.items()):
            values = {
                "drift_divergence": verdict.divergence,
                "drift_threshold": verdict.threshold,
                "drift_alarm": int(verdict.is_alarm),
            }
            told += [
                {"type": "GAUGE", "key": key, "value": value, "tags": {"feature": feature}}
                for key, value in values.items()
            ]
        return told

    def init_metadata(self) -> dict[str, Any]:
        """What is watched, and against which model's reference."""
        identity = self.identity or load_identity(self.folder)
        custom = {"window": str(self.window), "false_alarm": str(self.false_alarm), "confidence": str(self.confidence)}
        return {"platform": "slipway", "custom": {**custom, "reference": identity.name, "digest": identity.digest}}
