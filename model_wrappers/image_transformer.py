"""A Seldon TRANSFORMER that turns a photo, however it was sent, into the record that a detector reads."""

from __future__ import annotations

import atexit
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from model_wrappers import wire
from model_wrappers.darknet.letterbox import letterbox, parse_size
from model_wrappers.errors import ComponentError
from model_wrappers.intake.errors import IMAGE_TOO_LARGE, PhotoError
from model_wrappers.intake.fetch import fetch_photo
from model_wrappers.intake.header import MAX_PHOTO_BYTES
from model_wrappers.intake.payload import encoded_photo, photo_url
from model_wrappers.intake.pool import DecoderPool, Prepared
from model_wrappers.intake.request import Preparation

MAX_SIDE = wire.MAX_SIDE
MAX_DECODERS = 4


class ImageTransformer:
    """Photo in (bytes, base64 text, a mapping with either, or a uint8 array [H, W, 3]); one wire record out.

    Args:
        input: ``WIDTHxHEIGHT`` of the network behind, as in its cfg; the detector refuses any other.
        max_photo_bytes: an encoded photo above it is refused (at most 8 MiB).
        sharpness: 1.0 leaves the photo alone.
        jpeg_quality: 1 to 100 encodes it once more as JPEG; 0 does not.
        allow_url: fetch ``{"url": "https://…"}`` from public addresses; off unless asked for.
    """

    def __init__(
        self,
        input: str = "416x416",  # noqa: A002  - the parameter's name in the SeldonDeployment
        max_photo_bytes: int = MAX_PHOTO_BYTES,
        sharpness: float = 1.0,
        jpeg_quality: int = 0,
        *,
        allow_url: bool = False,
    ) -> None:
        self.size = parse_size("input", input)
        if max(self.size) > MAX_SIDE:
            raise ValueError(f"input={input!r}: at most {MAX_SIDE} pixels a side are possible")
        if not 0 < max_photo_bytes <= MAX_PHOTO_BYTES:
            raise ValueError(f"max_photo_bytes={max_photo_bytes} is not within 1..{MAX_PHOTO_BYTES}")
        if not 0 <= jpeg_quality <= 100:
            raise ValueError(f"jpeg_quality={jpeg_quality} is not within 0..100")
        self.preparation = Preparation(self.size.width, self.size.height, sharpness, jpeg_quality)
        self.max_photo_bytes = max_photo_bytes
        self.allow_url = allow_url
        self._pool: DecoderPool | None = None

    def load(self) -> None:
        """Start the decoder processes: one for each call that may run at once."""
        threads = max(int(os.environ.get("GUNICORN_THREADS", "1")), int(os.environ.get("GRPC_THREADS", "1")))
        self._pool = DecoderPool(min(threads, MAX_DECODERS), max_photo_bytes=self.max_photo_bytes)
        atexit.register(self._pool.close)

    def close(self) -> None:
        """End the decoder processes; no call may be under way."""
        if self._pool is not None:
            self._pool.close()

    def transform_input(
        self,
        X: Any,
        names: Sequence[str] | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> bytes:
        """One wire record. Raises ComponentError with ``status_code`` and ``reason`` for what is no photo."""
        prepared = self._prepare(X)
        return wire.encode(prepared.size, prepared.pixels)

    def _prepare(self, X: Any) -> Prepared:
        if isinstance(X, np.ndarray):
            return self._prepare_array(X)
        if self._pool is None:
            raise ComponentError("the decoders are not started yet", reason="MODEL_NOT_LOADED", status_code=503)
        return self._pool.prepare(self._encoded(X), self.preparation)

    def _encoded(self, X: Any) -> bytes:
        url = photo_url(X)
        if url is None:
            return encoded_photo(X)
        if not self.allow_url:
            sentence = "This deployment fetches no addresses: send the photo, or set the transformer's allow_url."
            raise ComponentError(sentence, reason="URL_REFUSED")
        return fetch_photo(url, max_bytes=self.max_photo_bytes)

    def _prepare_array(self, X: np.ndarray[Any, Any]) -> Prepared:
        photo = X[0] if X.ndim == 4 and X.shape[0] == 1 else X
        if photo.ndim != 3 or photo.shape[2] != 3 or min(photo.shape) < 1 or photo.dtype.kind not in "iuf":
            raise ComponentError(
                f"An array [height, width, 3] of RGB levels is expected, found {photo.dtype} {list(X.shape)}.",
                reason="UNSUPPORTED_INPUT",
            )
        if max(photo.shape) > wire.MAX_PHOTO_SIDE:
            sentence = f"The array is {list(X.shape)}; at most {wire.MAX_PHOTO_SIDE} pixels a side are possible."
            raise PhotoError(IMAGE_TOO_LARGE, sentence)
        if not 0 <= photo.min() <= photo.max() <= 255:  # a NaN is neither
            raise ComponentError("RGB levels from 0 to 255 are expected.", reason="UNSUPPORTED_INPUT")
        pixels = np.rint(photo).astype(np.uint8) if photo.dtype.kind == "f" else photo.astype(np.uint8)
        return Prepared((photo.shape[1], photo.shape[0]), letterbox(pixels, self.size))

    def init_metadata(self) -> dict[str, Any]:
        """What comes in and goes out."""
        return {
            "platform": "slipway",
            "inputs": [{"messagetype": "binData"}],
            "outputs": [{"messagetype": "binData"}],
            "custom": {"input": str(self.size)},
        }
