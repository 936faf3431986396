"""What of the hub's environment the platform's programs get: everything but the hub's own secrets."""

from __future__ import annotations

from collections.abc import Mapping

HUB_SECRETS = (
    "CONFIGPROXY_AUTH_TOKEN",
    "JPY_COOKIE_SECRET",
    "JUPYTERHUB_CRYPT_KEY",
    "SLIPWAY_HUB_ADMIN_PASSWORD",
)
"""A preparation starts pip, which starts what packages bring along."""


def platform_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """``PYTHONPATH`` is the hub's image: the platform's programs have an interpreter of their own."""
    return {name: value for name, value in environ.items() if name not in (*HUB_SECRETS, "PYTHONPATH")}
