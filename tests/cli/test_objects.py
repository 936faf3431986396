"""`slipway apply`, `get`, `describe`, `logs` and `delete` against a real API process."""

from __future__ import annotations

import json
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from slipway.cli.main import main
from tests.onebox_api.conftest import TOKEN, ApiProcess, running_api

DONE, FAILED, WRONG_USAGE, NOT_READY = 0, 1, 2, 3
CONFIG = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"a": "1"}}
SDEP = {
    "apiVersion": "machinelearning.seldon.io/v1",
    "kind": "SeldonDeployment",
    "metadata": {"name": "yolo", "labels": {"team": "a"}},
    "spec": {
        "predictors": [
            {
                "name": "stable",
                "traffic": 100,
                "graph": {"name": "m", "type": "MODEL"},
                "componentSpecs": [{"spec": {"containers": [{"name": "m", "image": "slipway/yolo:1"}]}}],
            }
        ]
    },
}
Slipway = Callable[..., Result]


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiProcess]:
    with running_api(tmp_path_factory.mktemp("cli") / "home") as process:
        yield process


@pytest.fixture
def slipway(api: ApiProcess, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Slipway:
    """Runs the command in a namespace of the test's own."""
    monkeypatch.setenv("SLIPWAY_HOME", str(api.paths.home))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    namespace = f"n{zlib.crc32(request.node.name.encode())}"

    def run(command: str, *words: str, stdin: str = "") -> Result:
        return CliRunner().invoke(main, [command, "-n", namespace, *words], input=stdin)

    made = run(
        "apply", "-f", "-", stdin=manifest({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    )
    assert made.exit_code == DONE, made.output
    return run


def manifest(*objects: object) -> str:
    return yaml.safe_dump_all(objects)


def done(result: Result) -> str:
    assert result.exit_code == DONE, result.output
    return result.stdout.rstrip()


def refused(result: Result, code: int = FAILED) -> str:
    """The one line of an error."""
    assert result.exit_code == code, result.output
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    return lines[0]


def test_apply_says_created_then_unchanged_then_configured(slipway: Slipway) -> None:
    text = manifest(CONFIG, SDEP)
    assert done(slipway("apply", "-f", "-", stdin=text)).splitlines() == [
        "configmap/settings created",
        "seldondeployment/yolo created",
    ]
    assert done(slipway("apply", "-f", "-", stdin=text)).splitlines() == [
        "configmap/settings unchanged",
        "seldondeployment/yolo unchanged",
    ]
    changed = manifest({**CONFIG, "data": {"a": "2"}})
    assert done(slipway("apply", "-f", "-", "--dry-run", stdin=changed)) == "configmap/settings configured (dry run)"
    assert done(slipway("apply", "-f", "-", stdin=changed)) == "configmap/settings configured"
    assert done(slipway("apply", "-f", "-", "--dry-run", stdin=changed)) == "configmap/settings unchanged (dry run)"


def test_apply_takes_files_and_folders_and_a_dry_run_stores_nothing(slipway: Slipway, tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(manifest(CONFIG))
    (tmp_path / "two.json").write_text(json.dumps({**CONFIG, "metadata": {"name": "other"}}))
    said = done(slipway("apply", "--dry-run", "-f", str(tmp_path)))
    assert set(said.splitlines()) == {"configmap/settings created (dry run)", "configmap/other created (dry run)"}
    assert done(slipway("get", "configmaps")) == "No objects found."
    done(slipway("apply", "-f", str(tmp_path / "one.yaml"), "-f", str(tmp_path / "two.json")))
    assert done(slipway("get", "cm", "-o", "name")).splitlines() == ["configmap/other", "configmap/settings"]


def test_apply_shows_the_api_s_warnings_once_each(slipway: Slipway) -> None:
    entry = {"apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "spec": {"hosts": ["a.example"]}}
    text = manifest(*({**entry, "metadata": {"name": name}} for name in ("one", "two")))
    applied = slipway("apply", "-f", "-", stdin=text)
    assert done(applied).splitlines() == ["serviceentry/one created", "serviceentry/two created"]
    (said,) = applied.stderr.splitlines()
    assert said.startswith("Warning: ServiceEntry: it has no effect on this machine")


@pytest.mark.parametrize("version", ["machinelearning.seldon.oi/v1", "machinelearning.seldon.io/v7"])
def test_apply_of_a_version_that_is_not_served_names_file_and_kind(
    slipway: Slipway, tmp_path: Path, version: str
) -> None:
    (tmp_path / "one.yaml").write_text(manifest(CONFIG))
    (tmp_path / "two.yaml").write_text(manifest({**SDEP, "apiVersion": version}))
    said = refused(slipway("apply", "-f", str(tmp_path)))
    assert f"{tmp_path}/two.yaml: {version} SeldonDeployment" in said
    assert "this API does not serve that" in said


def test_apply_takes_back_a_field_that_is_no_longer_in_the_file(slipway: Slipway) -> None:
    done(slipway("apply", "-f", "-", stdin=manifest({**CONFIG, "data": {"a": "1", "b": "2"}})))
    done(slipway("apply", "-f", "-", stdin=manifest(CONFIG)))
    assert yaml.safe_load(done(slipway("get", "cm/settings", "-o", "yaml")))["data"] == {"a": "1"}


def test_apply_of_a_bad_object_names_every_violation(slipway: Slipway) -> None:
    predictor = SDEP["spec"]["predictors"][0]  # type: ignore[index]
    twice = {**SDEP, "spec": {"predictors": [predictor, predictor]}}
    result = slipway("apply", "-f", "-", stdin=manifest(twice))
    assert result.exit_code == FAILED
    assert "spec.predictors" in result.stderr
    assert len(result.stderr.strip().splitlines()) >= 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kind: ConfigMap", "stdin"),
        ("kind: A\na: [", "stdin:3:1: did not find expected node content"),
        (manifest({**CONFIG, "kind": "Nope"}), "Nope"),
        (manifest({**CONFIG, "dataa": {}}), "dataa"),
    ],
)
def test_apply_of_what_is_no_object_is_one_line(slipway: Slipway, text: str, said: str) -> None:
    assert said in refused(slipway("apply", "-f", "-", stdin=text))


def test_get_shows_columns_of_the_kind(slipway: Slipway) -> None:
    done(slipway("apply", "-f", "-", stdin=manifest(SDEP)))
    heading, row = done(slipway("get", "sdep")).splitlines()
    assert heading.split()[:2] == ["NAME", "STATE"]
    assert row.startswith("yolo ")
    assert "TRAFFIC" in heading
    wide = done(slipway("get", "sdep", "yolo", "-o", "wide")).splitlines()[0]
    assert len(wide.split()) >= len(heading.split())


def test_get_filters_by_labels_and_shows_all_namespaces(slipway: Slipway) -> None:
    done(slipway("apply", "-f", "-", stdin=manifest(SDEP)))
    assert done(slipway("get", "sdep", "-l", "team=b")) == "No objects found."
    assert done(slipway("get", "sdep", "-l", "team=a", "-o", "name")) == "seldondeployment/yolo"
    assert done(slipway("get", "sdep", "-A")).splitlines()[0].split()[:2] == ["NAMESPACE", "NAME"]


def test_get_as_json_and_yaml_can_be_applied_again(slipway: Slipway) -> None:
    done(slipway("apply", "-f", "-", stdin=manifest(SDEP)))
    one = json.loads(done(slipway("get", "sdep", "yolo", "-o", "json")))
    assert "managedFields" not in one["metadata"]
    everything = yaml.safe_load(done(slipway("get", "sdep", "-o", "yaml")))
    assert everything["items"] == [one]
    assert done(slipway("apply", "-f", "-", stdin=manifest(everything))).startswith("seldondeployment/yolo ")


def test_describe_shows_conditions_and_events_in_order(slipway: Slipway) -> None:
    done(slipway("apply", "-f", "-", stdin=manifest(SDEP)))
    one = json.loads(done(slipway("get", "sdep/yolo", "-o", "json")))
    meta = one["metadata"]
    involved = {"kind": "SeldonDeployment", "name": "yolo", "namespace": meta["namespace"], "uid": meta["uid"]}
    events = [
        {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"e{minute}"},
            "involvedObject": involved,
            "reason": reason,
            "message": f"{reason} it",
            "type": "Normal",
            "lastTimestamp": f"2026-01-01T00:0{minute}:00Z",
        }
        for minute, reason in ((2, "Second"), (1, "First"))
    ]
    namesake = {**involved, "uid": "of-one-that-was-deleted"}
    events.append({**events[0], "metadata": {"name": "e3"}, "involvedObject": namesake, "message": "to a namesake"})
    done(slipway("apply", "-f", "-", stdin=manifest(*events)))
    text = done(slipway("describe", "sdep", "yolo"))
    assert text.startswith("Name:        yolo\n")
    assert "Labels:      team=a" in text
    assert text.index("First it") < text.index("Second it")
    assert "to a namesake" not in text
    assert text == done(slipway("describe", "sdep/yolo"))


def test_logs_prints_the_containers_output(slipway: Slipway, api: ApiProcess) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "c", "image": "x:1"}]},
    }
    done(slipway("apply", "-f", "-", stdin=manifest(pod)))
    meta = json.loads(done(slipway("get", "pod", "p", "-o", "json")))["metadata"]
    path = api.paths.container_log(meta["namespace"], "p", meta["uid"], container="c", restart=0)
    path.parent.mkdir(parents=True)
    path.write_text("".join(f"2026-01-01T00:00:0{n}.000000Z stdout F line {n}\n" for n in range(3)))
    assert done(slipway("logs", "p")) == "line 0\nline 1\nline 2"
    assert done(slipway("logs", "pod/p", "--tail", "1", "--timestamps")) == "2026-01-01T00:00:02.000000Z line 2"
    assert "previous terminated container" in refused(slipway("logs", "p", "-p"))
    assert '"nobody"' in refused(slipway("logs", "nobody"))


def test_delete_by_kind_by_slash_and_by_file(slipway: Slipway, tmp_path: Path) -> None:
    path = tmp_path / "all.yaml"
    path.write_text(manifest(CONFIG, SDEP))
    done(slipway("apply", "-f", str(path)))
    assert done(slipway("delete", "sdep", "yolo")) == "seldondeployment/yolo deleted"
    assert done(slipway("delete", "cm/settings")) == "configmap/settings deleted"
    done(slipway("apply", "-f", str(path)))
    assert done(slipway("delete", "-f", str(path))).splitlines() == [
        "seldondeployment/yolo deleted",
        "configmap/settings deleted",
    ]
    assert '"settings" not found' in refused(slipway("delete", "cm", "settings"))
    assert done(slipway("delete", "cm", "settings", "--ignore-not-found")) == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("get", "nonsense"), "nonsense"),
        (("get", "cm", "nobody"), 'configmaps "nobody" not found'),
        (("describe", "cm", "nobody"), 'configmaps "nobody" not found'),
        (("get", "cm", "-l", "a in"), "unable to parse requirement"),
    ],
)
def test_what_is_not_there_is_one_line(slipway: Slipway, words: tuple[str, ...], said: str) -> None:
    assert said in refused(slipway(*words))


def test_apply_into_a_namespace_that_is_not_there_says_how_to_make_it(slipway: Slipway) -> None:
    said = refused(slipway("apply", "-n", "nowhere", "-f", "-", stdin=manifest(CONFIG)))
    assert "configmap/settings: there is no namespace nowhere: make it with `kubectl create namespace nowhere`" in said


@pytest.mark.parametrize(
    "words", [("get",), ("get", "cm", "x", "-A"), ("describe", "cm"), ("logs",), ("delete", "cm"), ("apply",)]
)
def test_wrong_usage_is_2(slipway: Slipway, words: tuple[str, ...]) -> None:
    result = slipway(*words)
    assert result.exit_code == WRONG_USAGE
    assert "Usage: " in result.stderr


def test_a_kubeconfig_with_a_wrong_token_is_one_line(
    api: ApiProcess, tmp_path: Path, slipway: Slipway, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config"
    ca = f"certificate-authority: {api.paths.secrets / 'api.crt'}"
    text = api.paths.kubeconfig.read_text().replace(TOKEN, "wrong-wrong-wrong-wrong")
    config.write_text(text.replace("certificate-authority: secrets/api.crt", ca))
    monkeypatch.setenv("KUBECONFIG", str(config))
    assert "Unauthorized" in refused(slipway("get", "cm"))


@pytest.mark.parametrize(
    "words", [("get", "sdep"), ("describe", "sdep", "x"), ("logs", "x"), ("delete", "sdep", "x"), ("apply", "-f", "-")]
)
def test_an_api_that_is_away_is_3_and_says_how_to_start_it(
    words: tuple[str, ...], tmp_path: Path, api: ApiProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    _away(api, tmp_path / "kubeconfig")
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    result = CliRunner().invoke(main, list(words), input=manifest(CONFIG))
    assert "`slipway up` starts it" in refused(result, NOT_READY)


def test_cluster_that_is_away_is_nothing_that_up_starts(
    tmp_path: Path, api: ApiProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    _away(api, tmp_path / "cluster")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "cluster"))
    said = refused(CliRunner().invoke(main, ["get", "sdep"]), NOT_READY)
    assert "no connection to 127.0.0.1:1: Connect call failed" in said
    assert "is the cluster up" in said
    assert "slipway up" not in said


def _away(api: ApiProcess, config: Path) -> None:
    """A kubeconfig whose API does not answer."""
    ca = f"certificate-authority: {api.paths.secrets / 'api.crt'}"
    text = api.paths.kubeconfig.read_text().replace(api.address, "127.0.0.1:1")
    config.write_text(text.replace("certificate-authority: secrets/api.crt", ca))


def test_the_process_ends_with_the_exit_code(api: ApiProcess) -> None:
    def code(*words: str) -> int:
        command = [sys.executable, "-m", "slipway.cli.main", *words]
        environment = {"SLIPWAY_HOME": str(api.paths.home), "PATH": "/usr/bin:/bin"}
        return subprocess.run(command, env=environment, capture_output=True, timeout=30, check=False).returncode

    assert [code("get", "ns"), code("get", "ns", "nobody"), code("get")] == [DONE, FAILED, WRONG_USAGE]


def test_a_kustomization_given_as_a_file_is_not_silently_nothing(tmp_path: Path) -> None:
    path = tmp_path / "kustomization.yaml"
    path.write_text("apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: []\n")
    done = CliRunner().invoke(main, ["apply", "-f", str(path)])
    assert done.exit_code == 1
    assert "goes with -k" in done.output
