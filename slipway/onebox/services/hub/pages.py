"""NativeAuthenticator's pages with the hub's own rules in their sentences, and with nothing that a link can change."""

from __future__ import annotations

from typing import Any

from jupyterhub.handlers import BaseHandler
from jupyterhub.scopes import needs_scope
from nativeauthenticator.handlers import (
    ChangePasswordHandler,
    DiscardHandler,
    LoginHandler,
    SignUpHandler,
    ToggleAuthorizationHandler,
)
from nativeauthenticator.orm import UserInfo
from tornado.web import HTTPError, authenticated

from slipway.onebox.services.hub.limits import MAX_PASSWORD_BYTES
from slipway.onebox.services.hub.sentences import BY_BUTTON, LOCK_OUT, signup_refusal


class SlipwaySignUp(SignUpHandler):  # type: ignore[misc]  # NativeAuthenticator ships no types
    """``/hub/signup``."""

    def get_result_message(
        self, user: Any, is_human: bool, is_taken: bool, is_confirmed: bool, is_admin: bool
    ) -> tuple[str, str]:
        if user is None and is_human and is_confirmed and not is_taken:
            name = self.authenticator.normalize_username(self.get_body_argument("username", strip=False))
            return "alert-danger", signup_refusal(name, accounts=self.db.query(UserInfo).count())
        answer: tuple[str, str] = super().get_result_message(user, is_human, is_taken, is_confirmed, is_admin)
        return answer


class SlipwayLogin(LoginHandler):  # type: ignore[misc]  # NativeAuthenticator ships no types
    """``/hub/login``."""

    async def post(self) -> None:
        """As NativeAuthenticator's, for a form that is whole; a missing field is 400."""
        self.get_body_argument("username")
        if _is_too_long(self.get_body_argument("password", strip=False)):  # bcrypt raises
            self.finish(await self._render(login_error="Invalid username or password."))
            return
        await super().post()

    def _render(self, login_error: str | None = None, username: str | None = None) -> Any:
        said = f"{login_error} {LOCK_OUT}" if login_error else None
        return super()._render(login_error=said, username=username)

    def render_template(self, name: str, **given: Any) -> Any:
        """All errors have JupyterHub's page: put into this form, as it does when a cookie is old, the answer is empty."""
        return BaseHandler.render_template(self, name, **given)


class SlipwayChangePassword(ChangePasswordHandler):  # type: ignore[misc]  # NativeAuthenticator ships no types
    """``/hub/change-password``."""

    @authenticated  # type: ignore[untyped-decorator]
    async def post(self) -> None:
        """As NativeAuthenticator's; a field that no password can be is 400."""
        if _is_too_long(self.get_body_argument("old_password", strip=False)):  # bcrypt raises
            raise HTTPError(400, f"the current password has at most {MAX_PASSWORD_BYTES} bytes")
        await super().post()


class SlipwayToggle(ToggleAuthorizationHandler):  # type: ignore[misc]  # NativeAuthenticator ships no types
    """``/hub/authorize/<name>``: lets somebody in, or shuts somebody out. Only POST, which carries the page's token."""

    @needs_scope("admin:users")  # type: ignore[untyped-decorator]
    async def get(self, _name: str) -> None:
        raise HTTPError(405, BY_BUTTON)

    @needs_scope("admin:users")  # type: ignore[untyped-decorator]
    async def post(self, name: str) -> None:
        """Whoever is shut out loses the server too, also one that is only starting."""
        if self.authenticator.get_user(name) is None:
            raise HTTPError(404, f"there is no account {name!r}")
        if name == self.current_user.name:
            raise HTTPError(409, "you cannot shut yourself out: nobody could let you in again")
        account = UserInfo.change_authorization(self.db, name)
        if not account.is_authorized and (user := self.find_user(name)) is not None:
            for spawner in list(user.spawners.values()):
                if spawner.ready:
                    await self.stop_single_user(user, spawner.name)
                elif spawner.pending == "spawn":
                    await spawner.give_up()
        self.redirect(f"{self.hub.base_url}authorize#{name}")


class SlipwayDiscard(DiscardHandler):  # type: ignore[misc]  # NativeAuthenticator ships no types
    """``/hub/discard/<name>``: forgets a request. Only POST, which carries the page's token."""

    @needs_scope("admin:users")  # type: ignore[untyped-decorator]
    async def get(self, _name: str) -> None:
        raise HTTPError(405, BY_BUTTON)

    @needs_scope("admin:users")  # type: ignore[untyped-decorator]
    async def post(self, name: str) -> None:
        await super().get(name)


def _is_too_long(password: str) -> bool:
    return len(password.encode()) > MAX_PASSWORD_BYTES


OURS = {
    ChangePasswordHandler: SlipwayChangePassword,
    DiscardHandler: SlipwayDiscard,
    LoginHandler: SlipwayLogin,
    SignUpHandler: SlipwaySignUp,
    ToggleAuthorizationHandler: SlipwayToggle,
}
