"""Why a photo is refused. The microservice turns ``status_code`` and ``reason`` into the reply."""

from __future__ import annotations

from model_wrappers.errors import ComponentError

IMAGE_TOO_LARGE = "IMAGE_TOO_LARGE"
IMAGE_UNDECODABLE = "IMAGE_UNDECODABLE"
IMAGE_TOO_SLOW = "IMAGE_TOO_SLOW"
IMAGE_MISSING = "IMAGE_MISSING"
UNSUPPORTED_MEDIA_TYPE = "UNSUPPORTED_MEDIA_TYPE"
URL_REFUSED = "URL_REFUSED"
DECODER_UNAVAILABLE = "DECODER_UNAVAILABLE"

STATUS = {
    IMAGE_TOO_LARGE: 413,
    IMAGE_UNDECODABLE: 400,
    IMAGE_TOO_SLOW: 400,
    IMAGE_MISSING: 400,
    UNSUPPORTED_MEDIA_TYPE: 415,
    URL_REFUSED: 400,
    DECODER_UNAVAILABLE: 503,
}


class PhotoError(ComponentError):
    """``reason`` is one of the codes above; the text is a sentence for the one who sent the photo."""

    def __init__(self, reason: str, sentence: str) -> None:
        super().__init__(sentence, reason=reason, status_code=STATUS[reason])
