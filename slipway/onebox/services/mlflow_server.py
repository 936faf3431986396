"""MLflow's server in one process.

`mlflow server` would keep a second process of the same size that only waits for the first, and import everything
twice. This does what that command does (mlflow.server._run_server), with one uvicorn worker in the process itself.
"""

from __future__ import annotations

import argparse
import os
import sys
from configparser import ConfigParser
from functools import partial
from pathlib import Path

from slipway.onebox.paths import Paths
from slipway.onebox.services import postgres
from slipway.onebox.services.credentials import MLFLOW_ADMIN
from slipway.onebox.settings import HOST
from slipway.onebox.supervisor.history import PERMANENT_EXIT
from slipway.tracking.errors import NewerSchemaError
from slipway.tracking.migrate import ensure_accounts
from slipway.tracking.schema import ensure_schema
from slipway.tracking.settings import Account

MAX_CONNECTIONS = 64
DRAIN_S = 5
AUTH_CACHE_S = 60  # a password is hashed again after so long: PBKDF2 on every request would cost more than the request


def write_auth_config(path: Path, *, database_uri: str) -> None:
    """MLflow's basic-auth file. The admin's name and password come from the environment."""
    config = ConfigParser(interpolation=None)
    config["mlflow"] = {
        "default_permission": "READ",
        "database_uri": database_uri,
        "authorization_function": "mlflow.server.auth:authenticate_request_basic_auth",
        "auth_cache_ttl_seconds": str(AUTH_CACHE_S),
    }
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("w") as file:
        config.write(file)


def serve(paths: Paths, *, port: int) -> None:
    auth_config = paths.data("mlflow") / "basic_auth.ini"
    auth_uri = postgres.database_uri(paths, postgres.MLFLOW_AUTH_DATABASE)
    write_auth_config(auth_config, database_uri=auth_uri)
    os.environ["MLFLOW_AUTH_CONFIG_PATH"] = str(auth_config)

    import uvicorn
    from mlflow.environment_variables import _MLFLOW_SGI_NAME
    from mlflow.server import constants
    from mlflow.server.handlers import initialize_backend_stores

    store_uri = os.environ["MLFLOW_BACKEND_STORE_URI"]
    artifact_root = os.environ["MLFLOW_DEFAULT_ARTIFACT_ROOT"]
    os.environ[constants.BACKEND_STORE_URI_ENV_VAR] = store_uri
    os.environ[constants.REGISTRY_STORE_URI_ENV_VAR] = store_uri
    os.environ[constants.ARTIFACT_ROOT_ENV_VAR] = artifact_root
    os.environ[_MLFLOW_SGI_NAME.name] = "uvicorn"
    if ensure_schema(store_uri):
        print("the database was an older release's: its schema is upgraded", flush=True)
    # Its password may have been lost, and made anew: MLflow itself sets none but the first.
    admin = Account(MLFLOW_ADMIN, os.environ["MLFLOW_AUTH_ADMIN_PASSWORD"], is_admin=True)
    ensure_accounts(auth_uri, [admin], say=partial(print, flush=True))
    initialize_backend_stores(store_uri, store_uri, artifact_root)

    from mlflow.server.auth import create_app

    uvicorn.run(
        create_app(),
        host=HOST,
        port=port,
        log_level="warning",
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=DRAIN_S,
    )


def main() -> int:
    """Serve MLflow on 127.0.0.1. MLFLOW_BACKEND_STORE_URI and MLFLOW_DEFAULT_ARTIFACT_ROOT come from the environment."""
    parser = argparse.ArgumentParser(prog="python -m slipway.onebox.services.mlflow_server", description=main.__doc__)
    parser.add_argument("--home", type=Path, required=True, help="SLIPWAY_HOME")
    parser.add_argument("--port", type=int, required=True)
    given = parser.parse_args()
    try:
        serve(Paths(given.home.absolute()), port=given.port)
    except NewerSchemaError as error:
        print(error, file=sys.stderr)
        return PERMANENT_EXIT
    return 0


if __name__ == "__main__":
    sys.exit(main())
