"""What the hub's own pages say when they refuse somebody."""

from __future__ import annotations

import re

from slipway.onebox.services.hub.limits import (
    FAILED_LOGINS,
    LOCKED_OUT_S,
    MAX_ACCOUNTS,
    MAX_PASSWORD_BYTES,
    MIN_PASSWORD,
)
from slipway.onebox.services.hub.names import MAX_USER, RESERVED, USER_PATTERN

LOCK_OUT = f"After {FAILED_LOGINS} refused log-ins an account lets nobody in for {LOCKED_OUT_S // 60} minutes."
"""Said at every refusal, so that it does not tell which accounts exist."""
BY_BUTTON = "This is done with the buttons of the page Authorize Users: a link does not let anybody in or out."
SHUT_OUT = "The administrator has shut you out while your server started."


def signup_refusal(name: str, *, accounts: int) -> str:
    """Why no account was made for ``name``, as NativeAuthenticator normalized it, while there are ``accounts``."""
    if not re.match(USER_PATTERN, name):
        return (
            f"{name[:MAX_USER]!r} cannot be a name here: use lower-case letters, digits and single hyphens, "
            f"begin with a letter, end with a letter or digit, {MAX_USER} characters at most, such as ada-lovelace."
        )
    if name in RESERVED:
        return f"{name!r} is a name of the hub's own. Please choose another."
    if accounts >= MAX_ACCOUNTS:
        return f"There are {MAX_ACCOUNTS} accounts and requests already, which is the limit. Ask the administrator."
    return (
        f"Please choose another password: at least {MIN_PASSWORD} characters, at most {MAX_PASSWORD_BYTES} bytes, "
        "and none of the commonest ones."
    )
