"""What a caller of ``predict`` hands over → photos."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from PIL import Image

from slipway.mlflow_deployments.inputs import photos_of

PIXELS = np.zeros((2, 2, 3), np.uint8)
TEXT = base64.b64encode(b"photo").decode()


@pytest.mark.parametrize(
    ("inputs", "photos"),
    [
        ("photo.jpg", ["photo.jpg"]),
        (Path("photo.jpg"), [Path("photo.jpg")]),
        (b"photo", [b"photo"]),
        ([b"a", "b.jpg"], [b"a", "b.jpg"]),
        ((b"a",), [b"a"]),
        (pd.DataFrame({"image": [TEXT, b"raw"]}), [b"photo", b"raw"]),
        (pd.DataFrame({"path": ["a.jpg", "b.jpg"], "other": [1, 2]}), ["a.jpg", "b.jpg"]),
        ({"image": TEXT}, [b"photo"]),
        ({"path": ["a.jpg"]}, ["a.jpg"]),
    ],
    ids=str,
)
def test_photos_of_every_kind(inputs: Any, photos: list[Any]) -> None:
    assert photos_of(inputs) == photos


def test_array_is_one_photo() -> None:
    (found,) = photos_of(PIXELS)
    assert found is PIXELS


def test_pillow_image_is_one_photo() -> None:
    image = Image.fromarray(PIXELS)
    assert photos_of(image) == [image]
    assert photos_of([image, PIXELS])[0] is image


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        (None, "NoneType is no input"),
        ([], "no photo in the input"),
        ([1], "list is no input"),
        (np.int64(7), "int64 is no input"),
        (pd.DataFrame({"photo": ["a"]}), "the table has columns photo"),
        (pd.DataFrame({"image": []}), "no photo in the input"),
        (pd.DataFrame({"image": ["a.jpg"]}), "row 0: image is not base64"),
        (pd.DataFrame({"path": [7]}), "row 0: path is int"),
        ({"photo": "a"}, "the input has keys photo"),
    ],
    ids=str,
)
def test_anything_else_says_what_is_expected(inputs: Any, said: str) -> None:
    with pytest.raises(MlflowException, match=said):
        photos_of(inputs)
