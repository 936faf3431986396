"""Which layout a home has: a number in it, and the steps from each number to the next.

``slipway up`` and ``slipway restore`` take an older home forward step by step; one of a newer release is refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import slipway
from slipway.onebox.paths import Paths
from slipway.onebox.services.secrets import write_private
from slipway.onebox.settings import SettingsError, load_settings
from slipway.onebox.supervisor.errors import SupervisorError

HOME_FORMAT = 1
"""Of what this release writes. A change that an older release's home does not have raises it and adds a step."""


class FormatError(SupervisorError):
    """This home cannot be used by this release; the message says why and what to do."""


def read_format(file: Path) -> tuple[int, str]:
    """The home's number and the release that wrote it; 0 for a home of before there were numbers.

    Raises:
        FormatError: the file is damaged.
    """
    try:
        loaded: Any = json.loads(file.read_text())
        number, release = loaded["format"], loaded["release"]
    except FileNotFoundError:
        return 0, "before 0.1.0"
    except (ValueError, LookupError, TypeError) as error:
        raise FormatError(f'{file}: expected {{"format": {HOME_FORMAT}, "release": "…"}}: {error}') from error
    if type(number) is not int or number < 0:
        raise FormatError(f"{file}: format: a number from 0 is expected, not {number!r}")
    return number, str(release)


def _number_it(paths: Paths) -> None:
    """0 → 1: the layout is the same; settings that this release cannot read would be found out half-way through a start."""
    try:
        load_settings(paths.settings)
    except SettingsError as error:
        raise FormatError(str(error)) from error


STEPS: Mapping[int, Callable[[Paths], None]] = {0: _number_it}
"""Number → what makes the next one of it. A step can be repeated: a crash comes before its number is written."""


def steps_from(number: int, *, last: int = HOME_FORMAT, known: Mapping[int, object] = STEPS) -> list[int]:
    """The numbers whose steps are to be taken, in order.

    Raises:
        FormatError: a newer release made it, or one that is too old.
    """
    if number > last:
        raise FormatError(f"its format is {number}, this release knows formats up to {last}")
    if missing := [step for step in range(number, last) if step not in known]:
        raise FormatError(f"its format is {number}; this release has no way from {missing[0]} to {missing[0] + 1}")
    return list(range(number, last))


def migrate(paths: Paths) -> list[int]:
    """Bring a home to HOME_FORMAT; the steps that were taken.

    Raises:
        FormatError: it cannot be brought there.
    """
    number, release = read_format(paths.home_format)
    try:
        steps = steps_from(number)
    except FormatError as error:
        raise FormatError(
            f"{paths.home}: made by Slipway {release}: {error}; this is Slipway {slipway.__version__}: use {release}, "
            "or restore a backup of it with a release that knows both"
        ) from error
    for step in steps:
        STEPS[step](paths)
        write_format(paths, step + 1)
    if not steps and release != slipway.__version__:
        write_format(paths)
    return steps


def write_format(paths: Paths, number: int = HOME_FORMAT) -> None:
    write_private(paths.home_format, json.dumps({"format": number, "release": slipway.__version__}) + "\n")
