"""Prometheus' own tool reads the configuration and runs the rules' tests; the cluster gets the same rules."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import pytest
import yaml

from monitoring import prometheus_rule
from tests.data import REPOSITORY
from tests.manifests.schemas import complain_of_definition
from tests.monitoring.prometheus import MONITORING, WRITTEN, promtool

RULES = sorted((MONITORING / "rules").glob("*.yml"))
OBJECTS = ("pods.yaml", "gateway.yaml", "controller.yaml", "database.yaml", "rules.yaml")
DASHBOARDS = "../grafana"
TESTS = sorted((MONITORING / "tests").glob("*.yml"))
LOOKS_BACK_MIN = 5
"""Prometheus' --query.lookback-delta, where nobody sets it."""

BURNS = [
    ("SlipwayErrorBudgetBurnsFast", 1 / 24, 0.02),
    ("SlipwayErrorBudgetBurnsSlowly", 1 / 4, 0.05),
    ("SlipwayErrorBudgetBurnsForADay", 1.0, 0.10),
    ("SlipwayErrorBudgetBurnsForDays", 3.0, 0.10),
]


def alert_rules() -> list[dict[str, Any]]:
    groups = [group for path in RULES for group in yaml.safe_load(path.read_text())["groups"]]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


def alerts() -> list[str]:
    return [rule["alert"] for rule in alert_rules()]


def test_prometheus_takes_the_configuration():
    said = promtool("check", "config", "--lint=duplicate-rules", "--lint-fatal", MONITORING / "prometheus.yml")
    assert f"{len(RULES)} rule files found" in said


def test_rules_do_what_their_tests_say():
    assert promtool("test", "rules", *TESTS).count("SUCCESS") == len(TESTS) > 1


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.name)
def test_groups_have_an_order_where_one_evaluation_is_all_that_they_see(path):
    """promtool asks groups in any order without one, and finds nothing older than `LOOKS_BACK_MIN`."""
    test = yaml.safe_load(path.read_text())
    files = [yaml.safe_load((path.parent / name).read_text()) for name in test["rule_files"]]
    groups = [group["name"] for file in files for group in file["groups"]]
    if int(test["evaluation_interval"].removesuffix("m")) >= LOOKS_BACK_MIN and len(groups) > 1:
        assert test["group_eval_order"] == groups
    else:
        assert set(test.get("group_eval_order", groups)) == set(groups)


def test_tool_finds_a_rule_that_does_not_do_what_its_test_says(tmp_path):
    for folder in ("rules", "tests"):
        (tmp_path / folder).mkdir()
        for path in (MONITORING / folder).glob("*.yml"):
            (tmp_path / folder / path.name).write_text(path.read_text().replace("> 0.05", "> 0.95"))
    with pytest.raises(AssertionError, match="SlipwaySaturated"):
        promtool("test", "rules", tmp_path / "tests" / "rules.yml")


@pytest.mark.parametrize("alert", alerts())
def test_every_alert_is_seen_firing_in_a_test(alert):
    tests = [test for path in TESTS for test in yaml.safe_load(path.read_text())["tests"]]
    cases = [case for test in tests for case in test.get("alert_rule_test", ()) if case["alertname"] == alert]
    assert any(case.get("exp_alerts") for case in cases)


def test_cluster_has_the_rules_of_one_machine():
    assert prometheus_rule.render() == prometheus_rule.OBJECT.read_text(), "run python monitoring/prometheus_rule.py"


@pytest.mark.data
@pytest.mark.parametrize("name", OBJECTS)
def test_object_of_the_cluster_keeps_to_the_operators_schema(name):
    found = yaml.safe_load((MONITORING / "kubernetes" / name).read_text())
    assert complain_of_definition(found) == []


def test_every_object_of_the_cluster_is_applied():
    listed = yaml.safe_load((MONITORING / "kubernetes" / "kustomization.yaml").read_text())["resources"]
    assert sorted(listed) == sorted((*OBJECTS, DASHBOARDS))


def test_grafana_of_a_cluster_finds_every_dashboard():
    built = subprocess.run(
        ["kubectl", "kustomize", str(MONITORING / "kubernetes")], check=True, capture_output=True, text=True
    ).stdout
    maps = [item for item in yaml.safe_load_all(built) if item["kind"] == "ConfigMap"]
    assert {item["metadata"]["labels"]["grafana_dashboard"] for item in maps} == {"1"}
    shown = {name: text for item in maps for name, text in item["data"].items()}
    assert shown == {path.name: path.read_text() for path in (MONITORING / "grafana").glob("*.json")}


@pytest.mark.parametrize(("alert", "days", "share_of_month"), BURNS)
def test_budget_lasts_as_long_as_the_factor_says(alert, days, share_of_month):
    """The workbook's table: a factor f over a window of w days spends f * w / 30 of a month's budget."""
    (rule,) = [rule for rule in alert_rules() if rule["alert"] == alert]
    long, factor = re.findall(r'window="(\w+)"} > (?:([\d.]+) \* )?0\.001', rule["expr"])[0]
    assert {"1h": 1 / 24, "6h": 1 / 4, "1d": 1.0, "3d": 3.0}[long] == days
    assert float(factor or 1) * days / 30 == pytest.approx(share_of_month)
    assert f"{share_of_month:.0%}".replace("%", " %") in rule["annotations"]["summary"]


def test_both_sides_call_their_jobs_the_same():
    here = {job["job_name"] for job in yaml.safe_load((MONITORING / "prometheus.yml").read_text())["scrape_configs"]}
    there = set()
    for name in ("pods.yaml", "gateway.yaml"):
        for endpoint in yaml.safe_load((MONITORING / "kubernetes" / name).read_text())["spec"]["podMetricsEndpoints"]:
            there |= {item["replacement"] for item in endpoint["relabelings"] if item.get("targetLabel") == "job"}
    assert here == there == set(re.findall(r"slipway-(?:pods|gateway)", " ".join(here)))


def _relabelled(rules: list[dict[str, Any]], labels: dict[str, str]) -> dict[str, str]:
    """Prometheus' `replace`: the whole value has to match, of labels that are joined by `;`."""
    labels = dict(labels)
    for given in rules:
        rule = {re.sub(r"_(\w)", lambda letter: letter[1].upper(), key): value for key, value in given.items()}
        value = ";".join(labels.get(name, "") for name in rule["sourceLabels"])
        if found := re.fullmatch(rule["regex"], value):
            labels[rule["targetLabel"]] = found.expand(rule["replacement"].replace("$", "\\"))
    return labels


@pytest.mark.parametrize(
    ("cluster", "wanted"),
    [
        (
            "outbound|8000|main|yolo-main.default.svc.cluster.local",
            {"predictor_name": "main", "service": "yolo-main", "namespace": "default"},
        ),
        ("xds-grpc", {"namespace": "istio-system"}),
    ],
)
def test_predictors_of_a_gateway_are_called_the_same_on_both_sides(cluster, wanted):
    """Envoy's own label of a cluster is `envoy_cluster_name`, Istio's `cluster_name`."""
    (_, here) = yaml.safe_load((MONITORING / "prometheus.yml").read_text())["scrape_configs"]
    (there,) = yaml.safe_load((MONITORING / "kubernetes" / "gateway.yaml").read_text())["spec"]["podMetricsEndpoints"]
    before = {"namespace": "istio-system"}
    ours = _relabelled(here["metric_relabel_configs"], {**before, "envoy_cluster_name": cluster})
    istios = _relabelled(there["metricRelabelings"], {**before, "cluster_name": cluster})
    assert {**ours, "envoy_cluster_name": cluster} == {"envoy_cluster_name": cluster, **wanted}
    assert {"envoy_cluster_name": cluster, **istios} == {**ours, "cluster_name": cluster}


def test_page_starts_prometheus_with_the_configuration_that_is_there():
    page = (MONITORING / "README.md").read_text()
    assert "--config.file=monitoring/prometheus.yml" in page
    assert WRITTEN in (MONITORING / "prometheus.yml").read_text()
    for name in re.findall(r"`(monitoring/[\w./]+)`", page):
        assert (REPOSITORY / name).exists(), name
    for alert in alerts():
        assert f"`{alert}`" in page, alert
