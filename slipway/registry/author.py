"""In whose name somebody moves an alias."""

from __future__ import annotations

import getpass
import os

HUB_USER = "JUPYTERHUB_USER"


def present_user() -> str:
    """Whose name a record gets where none is given: the hub's user, else the login's."""
    try:
        return os.environ.get(HUB_USER) or getpass.getuser()
    except (OSError, KeyError):  # no entry for this user id, and no variable that names one
        return f"uid {os.getuid()}"
