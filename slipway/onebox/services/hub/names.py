"""A hub user's name → the names that everything else of that user has."""

from __future__ import annotations

from slipway.onebox.paths import Paths

ADMIN = "admin"
"""The hub's first account; it lets others in."""
CULLER = "idle-culler"
"""The hub's service that stops idle servers."""
MEMORY_WATCH = "memory-watch"
"""The hub's service that ends what uses more memory than it may."""
SERVICES = (CULLER, MEMORY_WATCH)
RESERVED = frozenset({ADMIN, *SERVICES})
MAX_USER = 32
USER_PATTERN = rf"(?=.{{1,{MAX_USER}}}\Z)[a-z][a-z0-9]*(-[a-z0-9]+)*\Z"
"""So that a name is also part of a namespace's, of a folder's and of an MLflow account's."""
SERVICE_ACCOUNT = "tenant"
READY, FAILED = "ready ", "failed "
"""How `prepare` begins its last line, which is for the hub; the rest of it is JSON."""


def namespace_of(user: str) -> str:
    """The user's namespace; MLflow's account has the same name, which no account of the platform has."""
    return f"user-{user}"


def server_mark(paths: Paths, user: str) -> str:
    """What all processes of a user's server carry in their environment, unlike those of other homes."""
    return f"hub-{paths.tag}/{user}"


def service_mark(paths: Paths, service: str) -> str:
    """The same of a service of the hub's. Names of users begin with a letter: none is taken for a service."""
    return server_mark(paths, f"_{service}")
