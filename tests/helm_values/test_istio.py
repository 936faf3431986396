"""Istio's charts: every key is theirs, retries are a VirtualService's, Envoy itself takes the access log."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from slipway.controller import ending
from slipway.onebox.mesh import limits
from slipway.onebox.mesh.access_log import FORMAT
from slipway.onebox.mesh.bootstrap import envoy_binary
from slipway.onebox.mesh.ir import Retries
from tests.data import REPOSITORY, SCHEMAS
from tests.helm_values import keys
from tests.helm_values.charts import Values, charts, defaults, load, merge
from tests.manifests.schemas import complain_of_definition

pytestmark = pytest.mark.data
KNOWN_TO_ONE_MACHINE = {"namespace", "deployment", "version", "pod"}
"""Keys of the log that come from metadata which our own mesh gives to routes and endpoints; Istio does not."""
OF_OTHERS = ("meshConfig", "resources", "global.proxy.resources")
"""Istio's own message, whose parts have tests of their own; pieces of Kubernetes (test_values.py)."""


def _given(name: str, *, small: bool = False) -> Values:
    chart = charts()[name]
    values: Values = {}
    for path in (*chart.files, *(chart.small if small else ())):
        values = merge(values, load(path))
    return values


def _gateway_complaints(values: Values) -> list[str]:
    schema = json.loads((SCHEMAS / "istio" / "gateway.values.schema.json").read_text())
    merged = merge(defaults("gateway"), values)
    return [error.message for error in jsonschema.Draft7Validator(schema).iter_errors(merged)]


def _mesh() -> dict[str, Any]:
    mesh: dict[str, Any] = _given("istiod")["meshConfig"]
    return mesh


def _istiod_complaints(values: Values) -> list[str]:
    return keys.complaints(values, defaults("istiod"), also=OF_OTHERS)


@pytest.mark.parametrize("small", [False, True], ids=["whole", "small"])
def test_gateway_keeps_to_the_schema(small: bool) -> None:
    assert not _gateway_complaints(_given("gateway", small=small))
    assert not keys.complaints(_given("gateway", small=small), defaults("gateway"), also=("podAnnotations",))


@pytest.mark.parametrize(
    "wrong",
    [
        {"replicas": 2},
        {"autoscaling": {"minReplicas": "2"}},
        {"kind": "StatefulSet"},
        {"podDisruptionBudget": {"maxUnavailable": [1]}},
    ],
    ids=str,
)
def test_wrong_gateway_is_found(wrong: Values) -> None:
    assert _gateway_complaints(wrong)


def test_gateway_is_the_one_that_the_manifests_select() -> None:
    """The chart labels its Pods ``istio: <release without "istio-">``."""
    selector = load(REPOSITORY / "istio" / "base" / "gateway.yaml")["spec"]["selector"]
    assert selector == {"istio": charts()["gateway"].release.removeprefix("istio-")}
    spread = _given("gateway")["topologySpreadConstraints"]
    assert [item["labelSelector"]["matchLabels"] for item in spread] == [selector]


@pytest.mark.parametrize("small", [False, True], ids=["whole", "small"])
def test_istiod_has_only_keys_of_the_chart(small: bool) -> None:
    assert not _istiod_complaints(_given("istiod", small=small))


@pytest.mark.parametrize(
    "wrong", [{"autoscaleMinimum": 2}, {"global": {"proxy": {"resource": {}}}}, {"autoscaleMin": "2"}], ids=str
)
def test_wrong_istiod_is_found(wrong: Values) -> None:
    assert _istiod_complaints(wrong)


def _virtual_service(retries: dict[str, Any]) -> dict[str, Any]:
    http = [{"route": [{"destination": {"host": "a"}}], "retries": retries}]
    spec = {"hosts": ["*"], "http": http}
    return {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": "a"}, "spec": spec}


def test_retries_of_the_mesh_are_those_of_one_machine() -> None:
    policy = _mesh()["defaultHttpRetryPolicy"]
    assert not complain_of_definition(_virtual_service(policy))
    assert policy["attempts"] == limits.RETRIES
    assert policy["perTryTimeout"] == f"{limits.PER_TRY_TIMEOUT_S:.0f}s"
    ours = Retries()
    reasons = {*ours.on, *map(str, ours.status_codes)} - {"retriable-status-codes"}  # Istio takes the codes themselves
    assert set(policy["retryOn"].split(",")) == reasons


def test_wrong_retries_are_found() -> None:
    assert complain_of_definition(_virtual_service({"attempt": 2}))


def _seconds(text: str) -> int:
    assert re.fullmatch(r"\d+s", text), text
    return int(text[:-1])


def test_proxies_drain_within_the_grace_of_their_pods() -> None:
    """A sidecar ends after the containers of its Pod, as `ENABLE_NATIVE_SIDECARS` says; a gateway is alone."""
    assert _given("istiod")["env"]["ENABLE_NATIVE_SIDECARS"] == "true"
    assert _seconds(_mesh()["defaultConfig"]["terminationDrainDuration"]) == ending.PROXY_DRAIN_S
    gateway = _given("gateway")
    own = yaml.safe_load(gateway["podAnnotations"]["proxy.istio.io/config"])
    assert 0 < _seconds(own["terminationDrainDuration"]) < gateway["terminationGracePeriodSeconds"]


@pytest.mark.parametrize("name", ["membership_total", "retry_or_shadow_abandoned"])
def test_gateways_count_what_the_alerts_read_of_predictors_alone(name: str) -> None:
    """Envoy wants a full match. Newer releases of Istio end a cluster's name with `;`, so that a counter's begins there."""
    rules = (REPOSITORY / "monitoring" / "rules" / "alerts.yml").read_text()
    assert f"envoy_cluster_{name}" in rules
    (pattern,) = _mesh()["defaultConfig"]["proxyStatsMatcher"]["inclusionRegexps"]
    for end in ("", ";"):
        of_predictor = f"cluster.outbound|8000|main|yolo-main.default.svc.cluster.local{end}"
        assert re.fullmatch(pattern, f"{of_predictor}.{name}")
        assert not re.fullmatch(pattern, f"{of_predictor}.upstream_rq_total")
        assert not re.fullmatch(pattern, f"cluster.outbound|5000||mlflow.mlflow.svc.cluster.local{end}.{name}")


def test_access_log_has_the_keys_of_one_machine() -> None:
    (provider,) = _mesh()["extensionProviders"]
    labels = provider["envoyFileAccessLog"]["logFormat"]["labels"]
    assert set(labels) == set(FORMAT) - KNOWN_TO_ONE_MACHINE
    same = {key: value for key, value in FORMAT.items() if key in labels and "METADATA" not in value}
    assert {key: labels[key] for key in same} == same
    assert not re.search(r"METADATA", json.dumps(labels))


def _envoy(labels: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    log = {
        "name": "envoy.access_loggers.file",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
            "path": "/dev/stdout",
            "log_format": {"json_format": labels},
        },
    }
    bootstrap = folder / "bootstrap.json"
    bootstrap.write_text(json.dumps({"admin": {"access_log": [log]}}))
    command = [str(envoy_binary()), "--mode", "validate", "--config-path", str(bootstrap), "--disable-hot-restart"]
    return subprocess.run(command, capture_output=True, check=False, text=True, timeout=50)


def test_envoy_takes_the_access_log(tmp_path: Path) -> None:
    (provider,) = _mesh()["extensionProviders"]
    labels = provider["envoyFileAccessLog"]["logFormat"]["labels"]
    said = _envoy(labels, tmp_path)
    assert said.returncode == 0, said.stderr
    wrong = _envoy({**labels, "time": "%START_TYME%"}, tmp_path)
    assert wrong.returncode != 0
    assert "START_TYME" in wrong.stderr
