"""What `slipway tenant` does about a team's MLflow account and training Secret; the API is real, MLflow is played."""

from __future__ import annotations

import base64
import json
import shlex
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from aiohttp.test_utils import unused_port
from click.testing import CliRunner, Result

from scripts import cluster_secrets
from slipway.cli import tenant
from slipway.cli.main import main
from slipway.cli.tenant_training import deletion, to_give
from slipway.onebox.services.secrets import ensure_secrets
from slipway.onebox.services.teams import mlflow_account, team_role
from slipway.onebox.settings import load_settings, save_settings
from tests.data import REPOSITORY
from tests.onebox_api.conftest import ApiProcess, running_api

Slipway = Callable[..., Result]
Accounts = dict[str, str]


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiProcess]:
    with running_api(tmp_path_factory.mktemp("training") / "home") as process:
        yield process


@pytest.fixture
def accounts() -> Accounts:
    return {"admin": "x"}


@pytest.fixture
def mlflow(accounts: Accounts) -> Iterator[int]:
    """MLflow's accounts as its REST API has them; the port."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            url = urlsplit(self.path)
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
            name = body.get("username") or parse_qs(url.query)["username"][0]
            action = url.path.rpartition("/")[2]
            found = name in accounts
            if action == "delete":
                accounts.pop(name, None)
            elif action != "get":
                accounts[name] = body["password"]
            self.send_response(200 if found or action == "create" else 404)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        do_GET = do_POST = do_PATCH = do_DELETE = answer  # noqa: N815  - the names that http.server calls

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def slipway(api: ApiProcess, mlflow: int, monkeypatch: pytest.MonkeyPatch) -> Slipway:
    monkeypatch.setenv("SLIPWAY_HOME", str(api.paths.home))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    choose_mlflow(api, mlflow)
    return lambda *words: CliRunner().invoke(main, list(words))


def choose_mlflow(api: ApiProcess, port: int, **others: int) -> None:
    settings = load_settings(api.paths.settings)
    api_port = int(api.address.rpartition(":")[2])
    save_settings(api.paths.settings, replace(settings, api_port=api_port, mlflow_port=port, **others))


def test_team_may_log_in_at_mlflow_with_what_its_secret_says(
    api: ApiProcess, slipway: Slipway, accounts: Accounts
) -> None:
    done = slipway("tenant", "add", "red")
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[-2:] == ["MLflow account team-red may log in", "secret/slipway-training created"]
    found = json.loads(slipway("get", "secret", "slipway-training", "-n", "red", "-o", "json").output)["data"]
    values = {name: base64.b64decode(value).decode() for name, value in found.items()}
    assert accounts["team-red"] == values["MLFLOW_TRACKING_PASSWORD"] != ""
    role = team_role("red", ensure_secrets(api.paths.secrets))
    assert asdict(role) == {
        "mlflow_user": values["MLFLOW_TRACKING_USERNAME"],
        "mlflow_password": values["MLFLOW_TRACKING_PASSWORD"],
        "s3_user": values["AWS_ACCESS_KEY_ID"],
        "s3_key": values["AWS_SECRET_ACCESS_KEY"],
    }
    again = slipway("tenant", "add", "red")
    assert again.output.splitlines()[-1] == "secret/slipway-training unchanged"
    for secret in (values["MLFLOW_TRACKING_PASSWORD"], values["AWS_SECRET_ACCESS_KEY"]):
        assert secret not in done.output + again.output
    gone = slipway("tenant", "remove", "red", "--yes")
    assert gone.output.splitlines() == ["namespace/red deleted", "MLflow account team-red deleted"]
    assert accounts == {"admin": "x"}


def test_secret_follows_ports_that_have_changed(api: ApiProcess, slipway: Slipway, mlflow: int) -> None:
    assert "secret/slipway-training created" in slipway("tenant", "add", "teal").output
    before = load_settings(api.paths.settings).s3_port
    choose_mlflow(api, mlflow, s3_port=unused_port())
    assert "secret/slipway-training configured" in slipway("tenant", "add", "teal").output
    choose_mlflow(api, mlflow, s3_port=before)


def test_dry_run_makes_no_account(slipway: Slipway, accounts: Accounts) -> None:
    done = slipway("tenant", "add", "grey", "--dry-run")
    assert "MLflow account team-grey, secret/slipway-training would be there (dry run)" in done.output
    assert accounts == {"admin": "x"}


def test_mlflow_that_is_away_is_said_and_a_team_that_is_removed_keeps_all_until_it_is_back(
    api: ApiProcess, slipway: Slipway, mlflow: int
) -> None:
    choose_mlflow(api, unused_port())
    done = slipway("tenant", "add", "pink")
    assert done.exit_code == 0, done.output
    assert "secret/slipway-training left out: MLflow does not answer: `slipway up --only mlflow`" in done.output
    kept = slipway("tenant", "remove", "pink", "--yes")
    assert (kept.exit_code, "nothing is deleted: MLflow account team-pink" in kept.output) == (1, True)
    choose_mlflow(api, mlflow)
    assert slipway("tenant", "remove", "pink", "--yes").output == "namespace/pink deleted\n"


def test_another_home_than_the_apis_gives_nothing(
    api: ApiProcess, slipway: Slipway, accounts: Accounts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(api.paths.kubeconfig))
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path))
    done = slipway("tenant", "add", "blue")
    assert "left out: SLIPWAY_HOME is not the home of this API" in done.output
    assert accounts == {"admin": "x"}
    assert list(tmp_path.iterdir()) == []


def test_user_of_the_hub_gets_both_from_the_hub(slipway: Slipway, accounts: Accounts) -> None:
    done = slipway("tenant", "add", "user-ada")
    assert "MLflow account user-ada, secret/slipway-training left out: the hub makes both" in done.output
    assert accounts == {"admin": "x"}


def test_cluster_is_told_the_commands_until_the_secret_is_there(
    slipway: Slipway, monkeypatch: pytest.MonkeyPatch, accounts: Accounts
) -> None:
    async def no(_: object) -> bool:
        return False

    monkeypatch.setattr(tenant, "is_one_machine", no)
    monkeypatch.setattr(tenant, "_has_cni", no)
    done = slipway("tenant", "add", "green")
    assert [line for line in done.output.splitlines() if line in to_give("green")] == to_give("green")
    made = ("apiVersion: v1", "kind: Secret", "metadata: {name: slipway-training, namespace: green}")
    applied = CliRunner().invoke(main, ["apply", "-f", "-"], input="\n".join(made))
    assert applied.exit_code == 0, applied.output
    assert "for training" not in slipway("tenant", "add", "green").output
    assert slipway("tenant", "remove", "green", "--yes").output.splitlines()[1].endswith(deletion("team-green"))
    assert accounts == {"admin": "x"}


@pytest.mark.parametrize("namespace", ["blue", "user-ada"])
def test_commands_for_a_cluster_read_the_files_that_the_first_one_draws(
    namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, request, secret = (shlex.split(line) for line in to_give(namespace) if line.startswith("  "))
    monkeypatch.chdir(tmp_path)
    folder = first[3]
    cluster_secrets.main([folder])
    assert first[:3] == ["python", "-m", "scripts.cluster_secrets"]
    cluster_secrets.main(first[3:])
    name = mlflow_account(namespace)
    login = json.loads(Path(request[request.index("--data") + 1].removeprefix("@")).read_text())
    variables = dict(line.split("=", 1) for line in Path(secret[-1].partition("=")[2]).read_text().splitlines())
    assert login["username"] == variables["MLFLOW_TRACKING_USERNAME"] == name
    assert login["password"] == variables["MLFLOW_TRACKING_PASSWORD"]
    assert Path(request[request.index("--netrc-file") + 1]).exists()
    assert secret[:6] == ["kubectl", "-n", namespace, "create", "secret", "generic"]


def test_account_of_a_team_is_nobody_elses() -> None:
    """Whatever the team is called: MLflow knows `admin`, `slipway-reader` and the users of the hub."""
    names = ("admin", "reader", "ada", "user-ada", "team-ada")
    assert [mlflow_account(name) for name in names] == [
        "team-admin",
        "team-reader",
        "team-ada",
        "user-ada",
        "team-team-ada",
    ]


@pytest.mark.parametrize("words", [["--team", "user-ada"], ["--team", "Blue_1"], ["--team", "a", "--user", "b"]])
def test_secrets_of_no_team_are_not_drawn(tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cluster_secrets.main([str(tmp_path), *words])
    assert end.value.code == 2
    assert "--team" in capsys.readouterr().err


def test_page_has_the_commands_that_are_printed() -> None:
    page = (REPOSITORY / "docs" / "tenants.md").read_text()
    for line in to_give("blue")[2:]:
        assert line.strip() in page
    assert deletion("team-blue") in page
