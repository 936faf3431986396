"""The command as a person meets it, against the real API process and against what is none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from aiohttp.test_utils import unused_port

from tests.data import REPOSITORY
from tests.onebox_api.conftest import ApiProcess, api

__all__ = ["api"]
FIXED, BROKEN, WRONG_USE, NOT_THERE = 0, 1, 2, 3
PAGE = REPOSITORY / "docs" / "doctor.md"


def doctor(kubeconfig: Path | None, *words: str, home: Path | None = None) -> subprocess.CompletedProcess[str]:
    """``home``: of the platform and of the user; default the folder of the kubeconfig, which KUBECONFIG names where there is one."""
    place = str(home or (kubeconfig or Path()).parent)
    given = {"KUBECONFIG": str(kubeconfig)} if kubeconfig else {"HOME": place}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLIPWAY_", "KUBE"))}
    return subprocess.run(
        [sys.executable, "-m", "slipway.cli.main", "doctor", *words],
        env={**kept, **given, "SLIPWAY_HOME": place},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def test_one_machine_lacks_its_secret_until_it_is_there(api: ApiProcess) -> None:
    broken = doctor(api.paths.kubeconfig)
    assert broken.returncode == BROKEN, broken.stderr
    assert "slipway-system/slipway-model-storage: not there" in broken.stdout
    assert "→ slipway up" in broken.stdout
    assert broken.stdout.splitlines()[-1].endswith("1 to be fixed")
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "slipway-system"}}
    keys = ("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "AWS_ACCESS_KEY_ID")
    values = dict.fromkeys((*keys, "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"), f"http://127.0.0.1:{unused_port()}")
    meta = {"name": "slipway-model-storage", "namespace": "slipway-system"}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": values}
    api.kubectl("apply", "-f", "-", stdin=json.dumps(namespace))
    api.kubectl("apply", "-f", "-", stdin=json.dumps(secret))
    fixed = doctor(api.paths.kubeconfig, "--json")
    assert fixed.returncode == FIXED, fixed.stderr
    report = json.loads(fixed.stdout)
    assert report["server"] == f"https://{api.address}"
    assert report["counts"]["fail"] == 0
    (mlflow,) = [item for item in report["findings"] if item["level"] == "unknown"]
    assert mlflow["what"].startswith("MLflow at http://127.0.0.1:")
    assert mlflow["what"].endswith("(from this machine)")


def test_a_namespace_that_is_not_there_is_to_be_fixed(api: ApiProcess) -> None:
    found = json.loads(doctor(api.paths.kubeconfig, "-n", "nope", "--json").stdout)["findings"]
    (missing,) = [item for item in found if item["check"] == "namespace"]
    assert (missing["level"], missing["where"], missing["what"]) == ("fail", "nope", "there is no such namespace")
    assert missing["repair"].startswith("slipway tenant add nope, or say another one with -n")


def test_an_api_that_is_not_there_is_one_sentence_and_ends_with_3(api: ApiProcess) -> None:
    api.kill()
    done = doctor(api.paths.kubeconfig)
    assert done.returncode == NOT_THERE
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "no cluster can be looked at" in line
    assert_early_end(
        doctor(api.paths.kubeconfig, "--json"), NOT_THERE, f"https://{api.address}", "kubectl cluster-info"
    )


def test_a_context_that_is_not_there_is_named(api: ApiProcess) -> None:
    done = doctor(api.paths.kubeconfig, "--context", "nowhere")
    assert done.returncode == WRONG_USE
    assert "no entry named 'nowhere'; there are: slipway" in done.stderr
    other = doctor(api.paths.kubeconfig, "--context", "nowhere", "--json")
    assert_early_end(other, WRONG_USE, "", "kubectl config get-contexts")


def test_platform_of_the_machine_is_a_context_without_kubeconfig(api: ApiProcess) -> None:
    """As for every other command; another context of its kubeconfig is asked for in ~/.kube/config, too."""
    named = doctor(None, "--context", "slipway", "--json", home=api.paths.home)
    assert json.loads(named.stdout)["server"] == f"https://{api.address}"
    assert (named.returncode, named.stderr) == (BROKEN, "")
    nowhere = doctor(None, "--context", "nowhere", home=api.paths.home)
    assert nowhere.returncode == WRONG_USE
    assert f"{api.paths.kubeconfig}: contexts: no entry named 'nowhere'; there are: slipway" in nowhere.stderr


def test_an_api_that_does_not_know_us_is_said(api: ApiProcess) -> None:
    config = yaml.safe_load(api.paths.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": "wrong"}
    path = api.paths.kubeconfig.with_name("of-nobody")
    path.write_text(yaml.safe_dump(config))
    assert_early_end(doctor(path, "--json"), BROKEN, f"https://{api.address}", "kubectl auth whoami")


@pytest.mark.parametrize(
    ("cluster", "code"),
    [
        ({"server": "https://"}, WRONG_USE),
        ({"server": "http://["}, WRONG_USE),
        ({"server": "http://a b:1"}, WRONG_USE),
        ({"server": "https://127.0.0.1:1", "certificate-authority-data": "bm90IGEgUEVN"}, BROKEN),
        ({"server": "ftp://127.0.0.1"}, WRONG_USE),
    ],
    ids=["no host", "half a bracket", "a blank", "no certificate", "another scheme"],
)
def test_a_kubeconfig_that_leads_nowhere_is_said(tmp_path: Path, cluster: dict[str, str], code: int) -> None:
    path = tmp_path / "config"
    context = {"name": "x", "context": {"cluster": "x"}}
    entries = {"clusters": [{"name": "x", "cluster": cluster}], "contexts": [context], "current-context": "x"}
    path.write_text(yaml.safe_dump(entries))
    done = doctor(path, "--json")
    assert done.returncode == code, done
    (finding,) = json.loads(done.stdout)["findings"]
    assert finding["level"] == "fail"


def assert_early_end(done: subprocess.CompletedProcess[str], code: int, server: str, repair: str) -> None:
    """What a script reads is whole, with the sentence that people read."""
    assert done.returncode == code, done
    report = json.loads(done.stdout)
    (finding,) = report["findings"]
    assert (report["server"], report["counts"]["fail"], finding["where"]) == (server, 1, server)
    assert (finding["level"], finding["check"], finding["repair"]) == ("fail", "kubernetes", repair)
    assert done.stderr == f"Error: {finding['what']}\n"


def test_the_page_names_every_check() -> None:
    from slipway.doctor.order import CHECKS

    rows = [line.split("|")[1].strip() for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    assert rows[1:] == list(dict.fromkeys(check.name for check in CHECKS))
