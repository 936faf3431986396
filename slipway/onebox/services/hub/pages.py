"""NativeAuthenticator's pages with the hub's own rules in their sentences."""

from __future__ import annotations

from typing import Any

from jupyterhub.handlers import BaseHandler
from nativeauthenticator.handlers import LoginHandler, SignUpHandler
from nativeauthenticator.orm import UserInfo

from slipway.onebox.services.hub.sentences import LOCK_OUT, signup_refusal


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

    def _render(self, login_error: str | None = None, username: str | None = None) -> Any:
        said = f"{login_error} {LOCK_OUT}" if login_error else None
        return super()._render(login_error=said, username=username)

    def render_template(self, name: str, **given: Any) -> Any:
        """All errors have JupyterHub's page: put into this form, as it does when a cookie is old, the answer is empty."""
        return BaseHandler.render_template(self, name, **given)


OURS = {SignUpHandler: SlipwaySignUp, LoginHandler: SlipwayLogin}
