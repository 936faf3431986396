"""mlflow/'s containers as they are rendered, run as processes: PostgreSQL with an owner who is no superuser, the real S3.

A kubelet would give them the same command and environment. What is other here: the port, PostgreSQL's socket, and paths.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import requests

from slipway.onebox.services.credentials import load_model_credentials
from slipway.onebox.services.postgres import binary
from slipway.tracking.databases import address
from slipway.tracking.manifest import NAME, parse_manifest
from slipway.tracking.schema import current_revision
from tests.data import REPOSITORY
from tests.e2e.platform import Platform
from tests.e2e.rendered import Rendered
from tests.e2e.s3 import client as s3_client
from tests.model_wrappers.postgres_server import PostgresServer
from tests.ports import free_ports
from tests.tracking.older_schema import make_older_schema
from tests.waiting import wait_until

BUCKET, PREFIX = "slipway-backups", "mlflow"
MODEL = "cells"
DIGEST = "sha256:" + "5a" * 32
RUNS_WITHIN_S = 180
STARTS_WITHIN_S = 240.0
OLD = "20200101T000000Z"


@dataclass
class Pods:
    """Runs what the overlay's workloads say."""

    rendered: Rendered
    secrets: dict[str, dict[str, str]]
    here: dict[str, str]
    folder: Path
    port: int
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def environment(self, container: dict[str, Any]) -> dict[str, str]:
        return {**self.rendered.environment(container, self.secrets), **self.here}

    def run(self, kind: str, name: str, **changed: str) -> subprocess.CompletedProcess[str]:
        """Each container after the other, in a fresh folder of dumps, until one fails: the last one that ran."""
        dumps = Path(tempfile.mkdtemp(dir=self.folder))
        said = ""
        for container in self.rendered.steps(kind, name):
            argv = [word.replace("/dumps/", f"{dumps}/") for word in container["command"]]
            if "slipway.tracking" in argv and name != "mlflow-migrate":
                argv.append(f"--folder={dumps}")
            env = {**self.environment(container), **changed}
            done = subprocess.run(
                argv, env=env, cwd=self.folder, capture_output=True, text=True, check=False, timeout=RUNS_WITHIN_S
            )
            said += done.stdout
            if done.returncode:
                break
        return subprocess.CompletedProcess(done.args, done.returncode, said, done.stderr)

    def start_server(self) -> subprocess.Popen[bytes]:
        first, container = self.rendered.steps("Deployment", "mlflow")
        subprocess.run(
            first["command"], env=self.environment(first), cwd=self.folder, check=True, timeout=RUNS_WITHIN_S
        )
        with (self.folder / "server.log").open("ab") as log:
            process = subprocess.Popen(
                container["command"],
                env=self.environment(container),
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.processes.append(process)
        wait_until(lambda: self._is_ready(container), timeout_s=STARTS_WITHIN_S, what="MLflow's server")
        return process

    def _is_ready(self, container: dict[str, Any]) -> bool:
        path = container["readinessProbe"]["httpGet"]["path"]
        try:
            return requests.get(f"http://127.0.0.1:{self.port}{path}", timeout=5).status_code == 200
        except requests.ConnectionError:
            return False

    def ask(
        self, path: str, account: tuple[str, str] | None, host: str = "mlflow.slipway-system:5000", **body: Any
    ) -> Any:
        url = f"http://127.0.0.1:{self.port}/api/2.0/mlflow/{path}"
        return requests.request(
            "POST" if body else "GET", url, json=body or None, auth=account, headers={"Host": host}, timeout=30
        )

    def stop(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
                process.wait(60)


@pytest.fixture(scope="module")
def database() -> Iterator[PostgresServer]:
    """As the Cluster of mlflow/components/database makes it: a role, its database, and what postInitSQL adds."""
    server = PostgresServer()
    server.start()
    spec = Rendered.of(REPOSITORY / "mlflow/overlays/cnpg").find("Cluster", "mlflow-db")["spec"]["bootstrap"]["initdb"]
    connection = psycopg2.connect(server.dsn)
    connection.autocommit = True
    for statement in (
        f"create role {spec['owner']} login",
        *spec["postInitSQL"],
        f"create database {spec['database']} owner {spec['owner']}",
    ):
        connection.cursor().execute(statement)
    connection.close()
    yield server
    server.remove()


@pytest.fixture(scope="module")
def pods(platform: Platform, database: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pods]:
    folder = tmp_path_factory.mktemp("mlflow")
    keys = {name: value for name, value in load_model_credentials(platform.paths).items() if name.startswith("AWS_")}
    rendered = Rendered.of(REPOSITORY / "mlflow/overlays/cnpg")
    rendered.write_mounts(rendered.template("Job", "mlflow-migrate"), "/etc/mlflow", folder / "etc")
    (port,) = free_ports(1)
    reader = {"MLFLOW_TRACKING_USERNAME": "slipway-reader", "MLFLOW_TRACKING_PASSWORD": "reader-password"}
    secrets = {
        "mlflow-db-app": {"username": "mlflow", "password": "of-no-use-on-a-socket"},
        "mlflow-admin": {"password": "admin-password", "flask-secret-key": "a-flask-secret-key"},
        "slipway-model-storage": {**keys, **reader},
        "mlflow-backup-storage": keys,
    }
    here = {
        "PATH": f"{Path(sys.executable).parent}:{binary('psql').parent}:{os.environ['PATH']}",
        "PGSSLMODE": "disable",  # programs here speak no TLS; on a socket there is none
        "HOME": str(folder),
        "PGHOST": str(database.folder),
        "MLFLOW_AUTH_CONFIG_PATH": str(folder / "etc" / "basic_auth.ini"),
        "MLFLOW_HOST": "127.0.0.1",
        "MLFLOW_PORT": str(port),
    }
    found = Pods(rendered, secrets, here, folder, port)
    yield found
    found.stop()


@pytest.fixture(scope="module")
def s3(platform: Platform) -> Iterator[Any]:
    client = s3_client(load_model_credentials(platform.paths))
    yield client
    for item in client.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        client.delete_object(Bucket=BUCKET, Key=item["Key"])
    client.delete_bucket(Bucket=BUCKET)
    client.close()


def test_placeholders_start_nothing(pods: Pods) -> None:
    dev = Rendered.of(REPOSITORY / "mlflow/overlays/dev")
    given = {item["metadata"]["name"]: item["stringData"] for item in dev.secrets()}
    environment = dev.environment(dev.container("Job", "mlflow-migrate"), {**pods.secrets, **given})
    assert environment["MLFLOW_AUTH_ADMIN_PASSWORD"] == "CHANGE-ME"
    done = pods.run("Job", "mlflow-migrate", MLFLOW_AUTH_ADMIN_PASSWORD="CHANGE-ME")
    assert done.returncode == 1
    assert (
        done.stderr.strip()
        == "MLFLOW_AUTH_ADMIN_PASSWORD still says CHANGE-ME: put a value of your own into its Secret"
    )


def test_registry_is_made_served_saved_and_brought_back(pods: Pods, s3: Any) -> None:
    """One story, because each part needs what the one before left."""
    admin, reader = ("admin", "admin-password"), ("slipway-reader", "reader-password")
    first = pods.run("Job", "mlflow-migrate", SLIPWAY_READER_PASSWORD="another-password")
    assert first.returncode == 0, first.stderr
    assert [line.split(",")[0] for line in first.stdout.splitlines()] == [
        "account admin: made",
        "account slipway-reader: made",
        "mlflow: made",
    ]
    again = pods.run("Job", "mlflow-migrate")
    assert [line.split(",")[0] for line in again.stdout.splitlines()] == [
        "account slipway-reader: has the configured password again",
        "mlflow: as it was",
    ]
    server = pods.start_server()
    assert pods.ask("registered-models/search", None).status_code == 401
    assert pods.ask("registered-models/search", reader).status_code == 200
    assert pods.ask("registered-models/search", (reader[0], "another-password")).status_code == 401
    assert pods.ask("registered-models/search", admin, host="evil.example").status_code == 403
    _refuse_secrets_in_arguments(pods)

    assert pods.ask("registered-models/create", admin, name=MODEL).status_code == 200
    version = {
        "name": MODEL,
        "source": f"s3://slipway-models/{MODEL}",
        "tags": [{"key": "slipway.digest", "value": DIGEST}],
    }
    assert pods.ask("model-versions/create", admin, **version).status_code == 200
    s3.create_bucket(Bucket=BUCKET)
    for name in (NAME, "mlflow.sql.gz"):
        s3.put_object(Bucket=BUCKET, Key=f"{PREFIX}/{OLD}/{name}", Body=b"old")
    done = pods.run("CronJob", "mlflow-backup", SLIPWAY_BACKUP_KEEP="1")
    assert done.returncode == 0, done.stderr
    keys = [item["Key"] for item in s3.list_objects_v2(Bucket=BUCKET)["Contents"]]
    (stamp,) = {key.split("/")[1] for key in keys}
    assert [key.rpartition("/")[2] for key in keys] == [NAME, "mlflow.sql.gz", "mlflow_auth.sql.gz"]
    text = s3.get_object(Bucket=BUCKET, Key=f"{PREFIX}/{stamp}/{NAME}")["Body"].read().decode()
    (model,) = parse_manifest(text, where=stamp).models
    assert (model.name, model.version, model.digest) == (MODEL, "1", DIGEST)

    assert requests.delete(
        f"http://127.0.0.1:{pods.port}/api/2.0/mlflow/registered-models/delete",
        json={"name": MODEL},
        auth=admin,
        timeout=30,
    ).ok
    refused = pods.run("CronJob", "mlflow-restore")
    assert refused.returncode == 1
    assert "others are connected: stop who uses it first" in refused.stderr
    server.terminate()
    server.wait(60)
    done = pods.run("CronJob", "mlflow-restore", SLIPWAY_RESTORE=stamp)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == f"s3://{BUCKET}/{PREFIX}/{stamp}: whole and here"
    assert done.stdout.splitlines()[1].startswith("mlflow: as it was")
    with psycopg2.connect(f"postgresql://mlflow@/mlflow?host={pods.here['PGHOST']}") as connection:
        cursor = connection.cursor()
        cursor.execute("select name, version from model_versions")
        assert cursor.fetchall() == [(MODEL, 1)]
    connection.close()
    s3.put_object(Bucket=BUCKET, Key=f"{PREFIX}/{stamp}/mlflow.sql.gz", Body=b"half")
    broken = pods.run("CronJob", "mlflow-restore")
    assert broken.returncode == 1
    assert f"backup {stamp}: mlflow.sql.gz has 4 bytes" in broken.stderr


@pytest.mark.filterwarnings("ignore")  # SQLAlchemy's and Alembic's, of MLflow
def test_backup_of_an_older_release_is_served_with_the_passwords_of_today(pods: Pods, s3: Any) -> None:
    """After the story above, whose databases are replaced by what an older MLflow would have left."""
    old = _leave_an_older_schema(pods.here["PGHOST"])
    assert pods.run("CronJob", "mlflow-backup").returncode == 0
    assert f"upgraded from {old} to {current_revision()}" in pods.run("Job", "mlflow-migrate").stdout

    pods.secrets["slipway-model-storage"]["MLFLOW_TRACKING_PASSWORD"] = "password-of-today"
    done = pods.run("CronJob", "mlflow-restore")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1:] == [
        "account slipway-reader: has the configured password again",
        f"mlflow: upgraded from {old} to {current_revision()}",
    ]
    pods.start_server()
    assert pods.ask("registered-models/search", ("slipway-reader", "password-of-today")).status_code == 200
    assert pods.ask("registered-models/search", ("slipway-reader", "reader-password")).status_code == 401


def _leave_an_older_schema(host: str) -> str:
    """The revision that it has then."""
    uri = f"postgresql+psycopg2://mlflow@/mlflow?host={host}"
    with psycopg2.connect(address(uri)) as connection:
        connection.cursor().execute("drop owned by current_user")
    connection.close()
    return make_older_schema(uri)


def _refuse_secrets_in_arguments(pods: Pods) -> None:
    """Of the server and what it started."""
    session = pods.processes[-1].pid
    seen = 0
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and _session_of(process) == session:
            words = (process / "cmdline").read_bytes().decode()
            seen += 1
            assert not [
                value
                for secret in pods.secrets.values()
                for value in secret.values()
                if len(value) > 10 and value in words
            ]
    assert seen > int(pods.environment(pods.rendered.container("Deployment", "mlflow"))["MLFLOW_WORKERS"])


def _session_of(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[3])
    except OSError:  # it ended
        return 0
