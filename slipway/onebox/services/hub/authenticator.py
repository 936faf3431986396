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

PAGES = Path(__file__).with_name("templates")


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

    async def refresh_user(self, user: Any, _handler: Any = None, **_more: Any) -> bool:
        """False logs somebody out whom the administrator shut out after the log-in."""
        account = self.get_user(user.name)
        return account is not None and bool(account.is_authorized)

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
    """Ours and NativeAuthenticator's (Authorize Users, Change Password): after the owner's, before JupyterHub's own.

    Ours extend NativeAuthenticator's as ``templates/<name>``: hence the folder above it.
    """
    jupyterhubs = str(Path(hub.data_files_path) / "templates")  # JupyterHub adds it again, as the last
    owners = [path for path in hub.template_paths if path != jupyterhubs]
    hub.template_paths = [*owners, str(PAGES), TEMPLATE_DIR, str(Path(TEMPLATE_DIR).parent)]
