"""PostgreSQL, S3 and MLflow as `slipway up` runs them: a model version outlives a kill of every process."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError

from slipway.onebox.paths import Paths
from slipway.onebox.services.credentials import load_model_credentials, reader, render_credentials
from slipway.onebox.services.secrets import ensure_secrets
from slipway.onebox.settings import load_settings
from slipway.onebox.supervisor.control import living_supervisor
from slipway.onebox.supervisor.procfs import command_line, descendants, pids
from slipway.onebox.supervisor.state import load_states
from tests.ports import free_ports

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]
COMMAND_TIMEOUT_S = 150
REGISTER = """
import mlflow, pathlib, sys
client = mlflow.MlflowClient()
experiment = client.create_experiment("e2e")
run = client.create_run(experiment)
file = pathlib.Path(sys.argv[1]); file.write_bytes(b"weights" * 1000)
client.log_artifact(run.info.run_id, str(file), "model")
client.create_registered_model("yolo")
version = client.create_model_version("yolo", f"{run.info.artifact_uri}/model", run_id=run.info.run_id)
client.set_registered_model_alias("yolo", "champion", version.version)
"""
READ = """
import mlflow
client = mlflow.MlflowClient()
version = client.get_model_version_by_alias("yolo", "champion")
print(version.version, version.source)
folder = mlflow.artifacts.download_artifacts(version.source)
import pathlib
print(len((pathlib.Path(folder) / "weights.bin").read_bytes()))
"""


class Home:
    """One platform in a folder of its own, driven through the command line as a person would."""

    def __init__(self, folder: Path) -> None:
        self.paths = Paths(folder)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "slipway.cli.main", *words],
            env={**os.environ, "SLIPWAY_HOME": str(self.paths.home)},
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )

    def python(self, code: str, *words: str, variables: Mapping[str, str]) -> str:
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.paths.home),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            **variables,
        }
        argv = [sys.executable, "-W", "ignore", "-c", code, *words]
        done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def processes(self) -> set[int]:
        roots = {
            state.identity.pid for state in load_states(self.paths.run).values() if state.identity and state.is_alive
        }
        if supervisor := living_supervisor(self.paths.run):
            roots.add(supervisor.pid)
        return set().union(*(descendants(pid) for pid in roots))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    made = Home(tmp_path_factory.mktemp("home"))
    names = ("--gateway-port", "--api-port", "--mlflow-port", "--s3-port")
    ports = [word for name, port in zip(names, free_ports(4), strict=True) for word in (name, str(port))]
    up = made.run("up", "--only", "mlflow,s3", *ports)
    assert up.returncode == 0, up.stderr
    yield made
    made.run("down")


def secret_values(home: Home) -> dict[str, str]:
    return {path.name: path.read_text().strip() for path in home.paths.secrets.iterdir() if path.suffix != ".crt"}


def client(home: Home, variables: Mapping[str, str]) -> object:
    return boto3.client(
        "s3",
        endpoint_url=variables["AWS_ENDPOINT_URL"],
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
        region_name=variables["AWS_DEFAULT_REGION"],
    )


def test_model_version_outlives_a_kill_of_every_process(home: Home, tmp_path: Path) -> None:
    variables = load_model_credentials(home.paths)
    home.python(REGISTER, str(tmp_path / "weights.bin"), variables=variables)
    for pid in home.processes():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    up = home.run("up", "--only", "mlflow,s3")
    assert up.returncode == 0, up.stderr
    version, size = home.python(READ, variables=variables).splitlines()
    assert version.startswith("1 s3://slipway-models/")
    assert size == "7000"


def test_reader_may_read_but_not_write(home: Home) -> None:
    """What Pods get: MLflow and S3 let them look and download, nothing else."""
    role = render_credentials(load_settings(home.paths.settings), reader(ensure_secrets(home.paths.secrets)))
    registrar = client(home, load_model_credentials(home.paths))
    registrar.put_object(Bucket="slipway-models", Key="probe", Body=b"1")  # type: ignore[attr-defined]
    limited = client(home, role)
    assert limited.get_object(Bucket="slipway-models", Key="probe")["Body"].read() == b"1"  # type: ignore[attr-defined]
    with pytest.raises(ClientError, match="AccessDenied"):
        limited.put_object(Bucket="slipway-models", Key="probe", Body=b"2")  # type: ignore[attr-defined]
    with pytest.raises(ClientError, match="AccessDenied"):
        limited.delete_object(Bucket="slipway-models", Key="probe")  # type: ignore[attr-defined]
    code = "import mlflow; mlflow.MlflowClient().set_registered_model_tag('yolo', 'a', 'b')"
    with pytest.raises(AssertionError, match="403|PERMISSION_DENIED|Permission denied"):
        home.python(code, variables=role)


def test_up_again_changes_nothing(home: Home) -> None:
    before = {name: state.identity for name, state in load_states(home.paths.run).items()}
    assert home.run("up", "--only", "mlflow,s3").returncode == 0
    assert {name: state.identity for name, state in load_states(home.paths.run).items()} == before


def test_status_is_the_same_for_people_and_scripts(home: Home) -> None:
    done = home.run("status", "--json")
    status = json.loads(done.stdout)
    assert done.returncode == 0
    assert status["ready"] is True
    assert 0 < status["pss_bytes"] < 1 << 30
    table = home.run("status").stdout
    assert all(row["name"] in table for row in status["processes"])


def test_secrets_are_in_no_command_line_and_no_log(home: Home) -> None:
    secrets = secret_values(home)
    assert len(secrets) >= 7
    lines = {pid: command_line(pid) for pid in pids()}
    logs = {path.name: path.read_text(errors="replace") for path in home.paths.logs.iterdir()}
    assert {"mlflow.log", "s3-proxy.log", "postgres.log", "supervisor.log"} <= logs.keys()
    found = [
        (name, where)
        for name, value in secrets.items()
        for where, text in [*lines.items(), *logs.items()]
        if value in text
    ]
    assert found == []


def test_files_with_secrets_are_their_owners_only(home: Home) -> None:
    assert home.paths.secrets.stat().st_mode & 0o777 == 0o700
    assert home.paths.sockets.stat().st_mode & 0o777 == 0o700
    values = set(secret_values(home).values())
    open_files = []
    for path in home.paths.home.rglob("*"):
        if path.is_file() and path.stat().st_mode & 0o077 and path.stat().st_size < 1 << 20:
            text = path.read_text(errors="replace")
            open_files += [str(path)] if any(value in text for value in values) else []
    assert open_files == []


def test_part_stops_alone_and_comes_back(home: Home) -> None:
    down = home.run("down", "mlflow")
    assert down.returncode == 0
    assert down.stdout.split()[:2] == ["mlflow", "stopped"]
    states = load_states(home.paths.run)
    assert "mlflow" not in states
    assert states["postgres"].is_alive
    up = home.run("up", "--only", "mlflow")
    assert up.returncode == 0, up.stderr
    assert load_states(home.paths.run)["mlflow"].is_alive


def test_taken_port_is_named_with_its_owner(home: Home) -> None:
    home.run("down", "mlflow")
    port = load_settings(home.paths.settings).mlflow_port
    with socket.create_server(("127.0.0.1", port)):
        up = home.run("up", "--only", "mlflow")
    assert up.returncode == 1
    assert f"mlflow: 127.0.0.1:{port} is taken by pid {os.getpid()} (" in up.stderr
    assert "--mlflow-port" in up.stderr


def test_down_leaves_no_process(home: Home) -> None:
    running = home.processes()
    assert running
    down = home.run("down")
    assert down.returncode == 0, down.stderr
    order = [line.split()[0] for line in down.stdout.splitlines() if " stopped " in line]
    assert order.index("s3-proxy") < min(order.index(f"s3-{name}") for name in ("account", "container", "object"))
    assert "postgres" in order
    assert not any(str(home.paths.home) in command_line(pid) for pid in pids())
    assert home.processes() == set()
    assert not home.paths.sockets.exists()
    assert home.run("status").stdout.startswith("nothing runs")
