"""What a caller of ``predict`` hands over → photos."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import Any

from slipway.client.photo import Photo, is_photo
from slipway.mlflow_deployments.errors import invalid

IMAGE, PATH = "image", "path"
EXPECTED = (
    f"a photo or a list of them (paths, bytes, arrays [height, width, 3]), or a table with a column `{IMAGE}` "
    f"(bytes or base64, as the model's own signature) or `{PATH}`"
)


def photos_of(inputs: Any) -> list[Photo]:
    """One photo per path, bytes, array or row.

    Raises:
        DeploymentError: it is none of these, or empty.
    """
    photos = list(_photos(inputs))
    if not photos:
        raise invalid(f"no photo in the input: expected {EXPECTED}")
    return photos


def _photos(inputs: Any) -> Iterator[Photo]:
    if hasattr(inputs, "columns"):  # a DataFrame, without importing pandas for everybody
        yield from _rows(inputs)
    elif is_photo(inputs):
        yield inputs
    elif isinstance(inputs, list | tuple) and all(map(is_photo, inputs)):
        yield from inputs
    elif isinstance(inputs, dict):
        yield from _columns(inputs)
    else:
        raise invalid(f"{type(inputs).__name__} is no input: expected {EXPECTED}")


def _rows(table: Any) -> Iterator[Photo]:
    for column in (IMAGE, PATH):
        if column in table.columns:
            yield from _column(column, list(table[column]))
            return
    raise invalid(f"the table has columns {', '.join(map(str, table.columns))}: expected {EXPECTED}")


def _columns(table: dict[str, Any]) -> Iterator[Photo]:
    for column in (IMAGE, PATH):
        if column in table:
            values = table[column]
            yield from _column(column, values if isinstance(values, list) else [values])
            return
    raise invalid(f"the input has keys {', '.join(map(str, table))}: expected {EXPECTED}")


def _column(column: str, values: list[Any]) -> Iterator[Photo]:
    for row, value in enumerate(values):
        if column == IMAGE and isinstance(value, str):
            yield _decoded(value, row)
        elif is_photo(value):
            yield value
        else:
            raise invalid(f"row {row}: {column} is {type(value).__name__}: expected {EXPECTED}")


def _decoded(text: str, row: int) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise invalid(f"row {row}: {IMAGE} is not base64 ({exc}); a file's name goes into a column `{PATH}`") from exc
