"""Class names: a text file with one name per line."""

from __future__ import annotations

from pathlib import Path

from model_wrappers.darknet.errors import NamesError
from model_wrappers.darknet.mistaken import mistaken_for
from model_wrappers.regular_file import read_start

MAX_NAMES_BYTES = 1 << 20
MAX_NAME_LENGTH = 200


def load_names(path: Path, classes: int | None = None) -> tuple[str, ...]:
    """Read a names file; with ``classes`` the number of names must equal it. Raises ``NamesError``."""
    name = str(path)
    try:
        data = read_start(path, MAX_NAMES_BYTES + 1)
    except OSError as exc:
        raise NamesError(name, f"cannot be read: {exc.strerror}") from exc
    if len(data) > MAX_NAMES_BYTES:
        raise NamesError(name, f"is larger than {MAX_NAMES_BYTES} bytes: one class name per line is expected")
    mistake = mistaken_for(data, "names")
    if mistake:
        raise NamesError(name, mistake)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise NamesError(name, f"is not UTF-8 text at byte {exc.start}") from exc
    return parse_names(text, path=name, classes=classes)


def parse_names(text: str, *, path: str = "<names>", classes: int | None = None) -> tuple[str, ...]:
    """Names in class order; empty lines may only stand at the end."""
    names = [line.strip() for line in text.split("\n")]
    while names and not names[-1]:
        names.pop()
    for number, name in enumerate(names, start=1):
        if not name or len(name) > MAX_NAME_LENGTH or not name.isprintable():
            raise NamesError(
                path, f"line {number}: a class name of 1 to {MAX_NAME_LENGTH} printable characters is expected"
            )
    if not names:
        raise NamesError(path, "is empty: one class name per line is expected")
    if classes is not None and len(names) != classes:
        raise NamesError(path, f"has {len(names)} names, but the cfg has classes={classes}")
    return tuple(names)
