"""A secret is empty or gone while something is there that was made with it: said, or refused where no other replaces it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

from slipway.onebox.paths import Paths
from slipway.onebox.supervisor.errors import SupervisorError

HASH_SUFFIX = "s3-hash-suffix"
USER_KEY, CRYPT_KEY = "hub-user-key", "hub-crypt-key"
REPLACED = ".replaced"
DATABASE_WITHIN_S = 5.0
CONSEQUENCES: Mapping[str, str] = {
    USER_KEY: "each hub user's token and MLflow password change when the user's server starts next, a team's password with "
    "the next `slipway tenant add`: copies of the old ones end then",
    CRYPT_KEY: "what the log-in provider told the hub cannot be read any more: its users log in again",
}


class SecretLost(SupervisorError):
    """A secret that no other can replace is gone; the message says where it may still be."""


def is_missing(path: Path) -> bool:
    """An empty file is what a full disk leaves: no secret."""
    return not path.exists() or not path.read_text().strip()


def is_depended_on(paths: Paths, name: str) -> bool:
    """Whether something is there that was made with the secret ``name`` and does not go with another."""
    return name in DEPENDENTS and DEPENDENTS[name](paths)


def refuse_lost_salt(paths: Paths) -> None:
    """Before S3 is started or written. Raises SecretLost where its objects would not be found."""
    if problem := lost_salt(paths):
        raise SecretLost(problem)


def lost_salt(paths: Paths) -> str:
    """What is wrong with S3's salt, and what puts it right; empty where nothing is."""
    path, store = paths.secrets / HASH_SUFFIX, paths.data("s3")
    if not is_missing(path) or not is_depended_on(paths, HASH_SUFFIX):
        return ""
    return (
        f"{path}: empty or gone, and with another one no object below {store} would be found: write the value of "
        f"swift_hash_path_suffix in {store}/etc/swift.conf into it, or fetch it from a backup "
        f"(tar -xzOf FILE secrets/{HASH_SUFFIX}); who gives up all models moves {store} away; everything else starts "
        "with `slipway up --without s3`"
    )


def marker_of(path: Path) -> Path:
    """The file that remembers that the secret in ``path`` was replaced, until somebody removes it."""
    return path.with_name(path.name + REPLACED)


def replaced_text(path: Path) -> str:
    """That the secret in ``path`` was made anew, what comes of it, and what ends this note."""
    return (
        f"{path}: was empty or gone, and another was made: {CONSEQUENCES[path.name]}. The one before may be in a backup "
        f"(tar -xzOf FILE secrets/{path.name}); once it is back, or nobody wants it, remove {marker_of(path)}"
    )


def secret_notes(paths: Paths) -> tuple[str, ...]:
    """What an administrator is to know of secrets that were lost."""
    replaced = [paths.secrets / name for name in CONSEQUENCES if marker_of(paths.secrets / name).exists()]
    return tuple(filter(None, (lost_salt(paths), *map(replaced_text, replaced))))


def _has_objects(paths: Paths) -> bool:
    return any(paths.data("s3").glob("devices/*/*"))


def _has_hub_users(paths: Paths) -> bool:
    return any(paths.hub_homes.glob("[a-z]*/"))


def _has_encrypted_logins(paths: Paths) -> bool:
    """Also where JupyterHub's database cannot be asked: to be told in vain harms nobody."""
    file = paths.data("hub") / "jupyterhub.sqlite"
    if not file.exists():
        return False
    question = "SELECT 1 FROM users WHERE encrypted_auth_state IS NOT NULL LIMIT 1"
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=DATABASE_WITHIN_S)) as database:
            return bool(database.execute(question).fetchall())
    except sqlite3.Error:
        return True


DEPENDENTS: Mapping[str, Callable[[Paths], bool]] = {
    HASH_SUFFIX: _has_objects,
    USER_KEY: _has_hub_users,
    CRYPT_KEY: _has_encrypted_logins,
}
