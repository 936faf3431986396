"""Who pointed an alias at a version, when and why: a tag of the registered model, because MLflow records none of it.

It is the tag that the platform writes and reads (``slipway model promote``, docs/aliases.md); a test compares the two.
"""

from __future__ import annotations

import getpass
import json
import os
from datetime import UTC, datetime

ALIAS_TAG = "slipway.alias."  # before the alias
HUB_USER = "JUPYTERHUB_USER"
MAX_WHO_CHARS = 200
MAX_WHY_CHARS = 1000


def present_user() -> str:
    """Whose name a record gets where none is given: the hub's user, else the login's."""
    try:
        return os.environ.get(HUB_USER) or getpass.getuser()
    except (OSError, KeyError):  # no entry for this user id, and no variable that names one
        return f"uid {os.getuid()}"


def check_author(*, who: str, why: str) -> None:
    """Raise ``MlflowException`` (INVALID_PARAMETER_VALUE) for a record that could not be written."""
    from mlflow.exceptions import MlflowException

    if not who.strip():
        raise MlflowException.invalid_parameter_value("who is empty: say who moves the alias")
    for field, text, limit in (("who", who, MAX_WHO_CHARS), ("why", why, MAX_WHY_CHARS)):
        if any("\ud800" <= character <= "\udfff" for character in text):  # bytes of a command line that were none
            raise MlflowException.invalid_parameter_value(f"{field} is not UTF-8")
        if len(text) > limit:
            raise MlflowException.invalid_parameter_value(
                f"{field} has {len(text)} characters, at most {limit} are possible"
            )


def render_record(*, version: str, before: str | None, who: str, why: str, at: datetime) -> str:
    """The tag's value: a JSON object; ``at`` as RFC 3339 in UTC, to the millisecond."""
    moment = at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps({"version": version, "before": before, "who": who, "why": why, "at": moment}, ensure_ascii=False)
