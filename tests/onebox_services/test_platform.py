from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from slipway.cli.main import main
from slipway.cli.platform import render_addresses
from slipway.onebox.paths import Paths
from slipway.onebox.services.platform import IMAGES, PARTS, build_specs
from slipway.onebox.services.secrets import ensure_secrets
from slipway.onebox.services.start import PlatformError, choose_wanted, names_of
from slipway.onebox.services.status import DeploymentRow, ProcessRow, Status, deployment_row, render_status
from slipway.onebox.services.wanted import Wish, kept_environment, load_wish, save_wish
from slipway.onebox.settings import HOST, Settings
from slipway.onebox.supervisor.spec import ProcessSpec

SETTINGS = Settings(s3_account_port=40001, s3_container_port=40002, s3_object_port=40003)


@pytest.fixture
def specs(tmp_path: Path) -> tuple[ProcessSpec, ...]:
    paths = Paths(tmp_path)
    return build_specs(paths, SETTINGS, ensure_secrets(paths.secrets), Wish())


def test_start_order_is_the_documented_one(specs: tuple[ProcessSpec, ...]) -> None:
    servers = [spec.name for spec in specs if not spec.is_task]
    assert servers == [
        *("postgres", "s3-account", "s3-container", "s3-object", "s3-proxy", "mlflow"),
        *("api", "controller", "runner", "mesh", "activator", "envoy-0", "envoy-1", "hub-proxy", "hub"),
    ]


def test_names_are_unique_and_needs_come_first(specs: tuple[ProcessSpec, ...]) -> None:
    seen: set[str] = set()
    for spec in specs:
        assert spec.name not in seen
        assert set(spec.after) <= seen, spec.name
        seen.add(spec.name)
    assert {spec.part for spec in specs} == set(PARTS)


def test_serving_path_waits_for_nothing_of_the_registry(specs: tuple[ProcessSpec, ...]) -> None:
    by_name = {spec.name: spec for spec in specs}
    registry = {spec.name for spec in specs if spec.part in ("postgres", "s3", "mlflow")}
    queue, needs = ["envoy-0", "envoy-1", "controller", "runner", "mesh", "activator"], set[str]()
    while queue:
        name = queue.pop()
        needs.add(name)
        queue += by_name[name].after
    assert needs.isdisjoint(registry)


def test_secrets_are_in_no_argv_and_no_repr(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    secrets = ensure_secrets(paths.secrets)
    values = [path.read_text() for path in paths.secrets.iterdir()]
    for spec in build_specs(paths, SETTINGS, secrets, Wish()):
        text = f"{spec!r} {' '.join(spec.argv)}"
        assert not [value for value in values if value in text], spec.name


def test_shell_that_asks_does_not_change_a_spec(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    secrets = ensure_secrets(paths.secrets)
    wish = Wish(frozenset(), kept_environment({"PATH": "/bin", "LANG": "C", "UV_INDEX_URL": "x", "PYTHONPATH": "y"}))
    plain, asked = (build_specs(paths, SETTINGS, secrets, one) for one in (Wish(), wish))
    assert [spec.fingerprint for spec in plain] == [spec.fingerprint for spec in asked]
    assert dict(asked[0].inherited) == {"PATH": "/bin", "LANG": "C"}
    installer = next(spec for spec in asked if spec.name == IMAGES)
    assert installer.inherited == {"PATH": "/bin", "LANG": "C", "UV_INDEX_URL": "x"}


@pytest.mark.parametrize(
    ("setting", "names"),
    [
        ("gateway_port", {"mesh", "envoy-0", "envoy-1", "hub"}),
        ("hub_port", {"hub-proxy", "hub"}),
        ("s3_port", {"s3-config", "s3-proxy", "mlflow", "objects", "controller"}),
    ],
)
def test_port_that_changes_changes_the_specs_that_have_it(tmp_path: Path, setting: str, names: set[str]) -> None:
    paths = Paths(tmp_path)
    secrets = ensure_secrets(paths.secrets)
    before = build_specs(paths, SETTINGS, secrets, Wish())
    after = build_specs(paths, replace(SETTINGS, **{setting: 9090}), secrets, Wish())
    changed = {old.name for old, new in zip(before, after, strict=True) if old.fingerprint != new.fingerprint}
    assert changed == names


def test_wish_is_remembered_for_its_owner_only(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    assert load_wish(paths) == Wish()
    first = save_wish(paths, {"api"}, {"HTTPS_PROXY": "http://ada:secret@proxy"})
    assert first == load_wish(paths) == Wish(frozenset({"api"}), {"HTTPS_PROXY": "http://ada:secret@proxy"}, 1)
    assert save_wish(paths, {"api"}, {}).number == 2
    assert (paths.run / "wanted").stat().st_mode & 0o777 == 0o600


def test_only_brings_what_it_needs(specs: tuple[ProcessSpec, ...]) -> None:
    wanted = choose_wanted(specs, only=["mlflow"], without=[], running=[])
    assert wanted == {"postgres-init", "postgres", "postgres-databases", "mlflow", "mlflow-accounts"}


def test_without_leaves_out_and_running_stays(specs: tuple[ProcessSpec, ...]) -> None:
    wanted = choose_wanted(specs, only=[], without=["mlflow", "s3"], running=["s3-proxy"])
    assert "s3-proxy" in wanted
    assert wanted.isdisjoint({"mlflow", "s3-bucket", "s3-account"})
    assert {"api", "envoy-1"} <= wanted


@pytest.mark.parametrize(
    ("without", "shown"),
    [
        ([], ["gateway", "API", "MLflow", "S3", "logs"]),
        (["mlflow", "s3", "postgres"], ["gateway", "API", "logs"]),
        (["envoy"], ["API", "MLflow", "S3", "logs"]),
    ],
    ids=str,
)
def test_addresses_are_of_what_was_asked_for(
    specs: tuple[ProcessSpec, ...], tmp_path: Path, without: list[str], shown: list[str]
) -> None:
    names = choose_wanted(specs, only=[], without=without, running=[])
    text = render_addresses(Paths(tmp_path), SETTINGS, {spec.part for spec in specs if spec.name in names})
    assert [line.split()[0] for line in text.splitlines()] == shown


def test_hub_s_address_is_shown_with_the_hub(tmp_path: Path) -> None:
    assert render_addresses(Paths(tmp_path), SETTINGS, {"hub"}).startswith(
        f"hub      http://{HOST}:{SETTINGS.hub_port}"
    )


def test_unknown_part_is_refused_with_the_known_ones(specs: tuple[ProcessSpec, ...]) -> None:
    with pytest.raises(PlatformError, match="minio: no such part: there are postgres, s3, mlflow"):
        names_of(specs, ["minio"])


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("up", "--only", "minio"), 2, "minio: there are postgres"),
        (("up", "--gateway-port", "0"), 2, "0 is not in the range"),
        (("up", "--gateway-port", "9", "--api-port", "9"), 2, "--gateway-port and --api-port are both 9"),
        (("up", "--gateway-port", "8001"), 1, "two settings have the same port"),
        (("down", "minio"), 2, "minio: no such part"),
    ],
)
def test_wrong_words_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], code: int, message: str
) -> None:
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path))
    result = CliRunner().invoke(main, words)
    assert result.exit_code == code
    assert message in result.output


def test_down_and_status_of_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path))
    assert CliRunner().invoke(main, ["down"]).output == "nothing was running\n"
    result = CliRunner().invoke(main, ["status"])
    assert (result.exit_code, result.output) == (3, "nothing runs: start it with `slipway up`\n")


def process(name: str = "api", problem: str = "") -> ProcessRow:
    return ProcessRow(name, "ready", not problem, 7, 61.2, 1, 40 << 20, ("127.0.0.1:8001",), problem)


def test_status_shows_traffic_declared_and_effective() -> None:
    item = {
        "metadata": {"namespace": "default", "name": "yolo"},
        "status": {
            "state": "Available",
            "traffic": {"declared": {"stable": 90, "canary": 10}, "effective": {"stable": 100, "canary": 0}},
        },
    }
    status = Status(1, (process(),), (), (deployment_row(item),), 40 << 20)
    assert status.is_ready
    assert "canary=10 stable=90  canary=0 stable=100" in render_status(status)


@pytest.mark.parametrize(
    "status",
    [
        Status(1, (process(problem="does not answer: GET /readyz"),), (), (), 0),
        Status(None, (process(),), (), (), 0),
        Status(1, (process(),), (), (DeploymentRow("default", "yolo", "Creating", {}, {}),), 0),
    ],
    ids=["process", "supervisor", "deployment"],
)
def test_status_is_not_ready_when_one_thing_is_not(status: Status) -> None:
    assert not status.is_ready


def test_status_names_the_ports_of_https_as_addresses_to_type() -> None:
    gateway = replace(process("envoy-0"), ports=("127.0.0.1:8080",), https_ports=("127.0.0.1:8443", "127.0.0.1:9443"))
    shown = render_status(Status(1, (gateway,), (), (), 0))
    assert "127.0.0.1:8080,https://127.0.0.1:8443,https://127.0.0.1:9443" in shown


def test_status_names_the_problem() -> None:
    table = render_status(Status(1, (process(problem="does not answer: GET /readyz"),), (), None, 0))
    assert "ready!" in table
    assert "does not answer: GET /readyz" in table
    assert "SeldonDeployments: the API does not answer" in table
