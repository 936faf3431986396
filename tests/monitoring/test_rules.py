"""Prometheus' own tool reads the configuration and runs the rules' tests; the cluster gets the same rules."""

from __future__ import annotations

import re

import pytest
import yaml

from monitoring import prometheus_rule
from tests.data import REPOSITORY
from tests.manifests.schemas import complain_of_definition
from tests.monitoring.prometheus import MONITORING, WRITTEN, promtool

RULES = sorted((MONITORING / "rules").glob("*.yml"))
OBJECTS = ("pods.yaml", "gateway.yaml", "rules.yaml")


def alerts() -> list[str]:
    groups = [group for path in RULES for group in yaml.safe_load(path.read_text())["groups"]]
    return [rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule]


def test_prometheus_takes_the_configuration():
    said = promtool("check", "config", "--lint=duplicate-rules", "--lint-fatal", MONITORING / "prometheus.yml")
    assert f"{len(RULES)} rule files found" in said


def test_rules_do_what_their_tests_say():
    assert "SUCCESS" in promtool("test", "rules", MONITORING / "tests" / "rules.yml")


def test_tool_finds_a_rule_that_does_not_do_what_its_test_says(tmp_path):
    for folder in ("rules", "tests"):
        (tmp_path / folder).mkdir()
        for path in (MONITORING / folder).glob("*.yml"):
            (tmp_path / folder / path.name).write_text(path.read_text().replace("> 0.05", "> 0.95"))
    with pytest.raises(AssertionError, match="SlipwaySaturated"):
        promtool("test", "rules", tmp_path / "tests" / "rules.yml")


@pytest.mark.parametrize("alert", alerts())
def test_every_alert_is_seen_firing_in_a_test(alert):
    tests = yaml.safe_load((MONITORING / "tests" / "rules.yml").read_text())["tests"]
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
    assert sorted(listed) == sorted(OBJECTS)


def test_both_sides_call_their_jobs_the_same():
    here = {job["job_name"] for job in yaml.safe_load((MONITORING / "prometheus.yml").read_text())["scrape_configs"]}
    there = set()
    for name in OBJECTS[:2]:
        for endpoint in yaml.safe_load((MONITORING / "kubernetes" / name).read_text())["spec"]["podMetricsEndpoints"]:
            there |= {item["replacement"] for item in endpoint["relabelings"] if item.get("targetLabel") == "job"}
    assert here == there == set(re.findall(r"slipway-(?:pods|gateway)", " ".join(here)))


def test_page_starts_prometheus_with_the_configuration_that_is_there():
    page = (MONITORING / "README.md").read_text()
    assert "--config.file=monitoring/prometheus.yml" in page
    assert WRITTEN in (MONITORING / "prometheus.yml").read_text()
    for name in re.findall(r"`(monitoring/[\w./]+)`", page):
        assert (REPOSITORY / name).exists(), name
    for alert in alerts():
        assert f"`{alert}`" in page, alert
