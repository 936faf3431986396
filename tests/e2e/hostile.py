"""Uploads that mean harm, or look like it: made from one valid photo and a seed."""

from __future__ import annotations

import random

from tests.e2e.hostile_kinds import Upload
from tests.e2e.hostile_messages import base64_texts, forms, json_texts, messages
from tests.e2e.hostile_photos import (
    FORMATS,
    bit_flips,
    bombs,
    compressed,
    declared_sizes,
    encode,
    lying_types,
    no_photos,
    polyglots,
    truncations,
    wrong_headers,
)


def uploads(photo: bytes, *, seed: int) -> list[Upload]:
    """All of them. ``photo``: a valid JPEG."""
    chance = random.Random(seed)
    encoded = {name: encode(photo, name) for name in FORMATS}
    return [
        *truncations(encoded),
        *bit_flips(encoded, chance),
        *wrong_headers(encoded, chance),
        *declared_sizes(),
        *bombs(),
        *polyglots(photo, encoded),
        *no_photos(chance),
        *lying_types(photo, encoded),
        *compressed(photo),
        *forms(photo, chance),
        *json_texts(photo, chance),
        *base64_texts(photo, chance),
        *messages(photo, chance),
    ]
