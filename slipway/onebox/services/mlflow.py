"""MLflow's tracking server: basic auth, PostgreSQL behind it, artifacts straight between clients and S3."""

from __future__ import annotations

import sys

from slipway.onebox.paths import Paths
from slipway.onebox.services import postgres
from slipway.onebox.services.credentials import MLFLOW_ADMIN, mlflow_endpoint, reader, render_credentials
from slipway.onebox.services.probes import HttpProbe
from slipway.onebox.services.secrets import Secrets
from slipway.onebox.services.swift import BUCKET
from slipway.onebox.settings import HOST, Settings
from slipway.onebox.supervisor.spec import Port, ProcessSpec

READY_WITHIN_S = 180.0  # the first start also makes some fifty tables
NICE = 10  # five seconds of imports, off the serving path


def specs(paths: Paths, settings: Settings, secrets: Secrets, *, env: dict[str, str]) -> list[ProcessSpec]:
    """The server, and the accounts it must have."""
    server = {
        **env,
        # Its pages show artifacts: the server itself only ever reads them.
        **{
            name: value
            for name, value in render_credentials(settings, reader(secrets)).items()
            if "TRACKING" not in name
        },
        "MLFLOW_BACKEND_STORE_URI": postgres.database_uri(paths, postgres.MLFLOW_DATABASE),
        "MLFLOW_DEFAULT_ARTIFACT_ROOT": f"s3://{BUCKET}/",
        "MLFLOW_AUTH_ADMIN_USERNAME": MLFLOW_ADMIN,
        "MLFLOW_AUTH_ADMIN_PASSWORD": secrets.mlflow_admin_password,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.mlflow_flask_key,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    module = "slipway.onebox.services"
    home = ("--home", str(paths.home))
    return [
        ProcessSpec(
            name="mlflow",
            part="mlflow",
            argv=(sys.executable, "-m", f"{module}.mlflow_server", *home, "--port", str(settings.mlflow_port)),
            env=server,
            ports=(Port(HOST, settings.mlflow_port, "--mlflow-port"),),
            probe=HttpProbe(f"{mlflow_endpoint(settings)}/health"),
            after=("postgres-databases",),
            ready_within_s=READY_WITHIN_S,
            nice=NICE,
        ),
        ProcessSpec(
            name="mlflow-accounts",
            part="mlflow",
            argv=(sys.executable, "-m", f"{module}.mlflow_accounts", *home),
            env=env,
            after=("mlflow",),
            nice=NICE,
        ),
    ]
