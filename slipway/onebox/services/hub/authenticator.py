"""Names and passwords that the hub keeps itself: people sign up, the administrator lets them in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import bcrypt
from nativeauthenticator import NativeAuthenticator
from nativeauthenticator.handlers import TEMPLATE_DIR
from nativeauthenticator.orm import UserInfo

from slipway.onebox.services.hub.limits import MAX_ACCOUNTS, MAX_PASSWORD_BYTES
from slipway.onebox.services.hub.names import ADMIN, RESERVED
from slipway.onebox.services.hub.pages import OURS


class SlipwayAuthenticator(NativeAuthenticator):  # type: ignore[misc]  # JupyterHub ships no types
    """NativeAuthenticator with a first account and with limits.

    What lets its people in is set on this class: another authenticator that the owner sets up inherits none of it.
    """

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        if self.get_user(ADMIN) is None:
            password = os.environ["SLIPWAY_HUB_ADMIN_PASSWORD"].encode()
            hashed = bcrypt.hashpw(password, bcrypt.gensalt())
            self.db.add(UserInfo(username=ADMIN, password=hashed, is_authorized=True))
            self.db.commit()
        _put_links_into_the_pages(self.parent)

    async def authenticate(self, handler: Any, data: dict[str, str]) -> str | None:
        if len(data["password"].encode()) > MAX_PASSWORD_BYTES:
            return None
        name: str | None = await super().authenticate(handler, data)
        return name

    def is_password_strong(self, password: str) -> bool:
        return len(password.encode()) <= MAX_PASSWORD_BYTES and bool(super().is_password_strong(password))

    def create_user(self, username: str, password: str, **more: Any) -> Any:
        """The request for an account; None where it is refused."""
        if self.normalize_username(username) in RESERVED or self.db.query(UserInfo).count() >= MAX_ACCOUNTS:
            return None
        return super().create_user(username, password, **more)

    def get_handlers(self, app: Any) -> list[tuple[str, Any]]:
        return [(path, OURS.get(handler, handler)) for path, handler in super().get_handlers(app)]


def _put_links_into_the_pages(hub: Any) -> None:
    """NativeAuthenticator's page.html (Authorize Users, Change Password): after the owner's, before JupyterHub's own."""
    jupyterhubs = str(Path(hub.data_files_path) / "templates")  # JupyterHub adds it again, as the last
    hub.template_paths = [*(path for path in hub.template_paths if path != jupyterhubs), TEMPLATE_DIR]
