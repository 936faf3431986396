"""The rule that docs/scaling.md gives for a cluster's metrics adapter is PromQL, and means what one machine measures."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from tests.data import REPOSITORY
from tests.monitoring.prometheus import promtool

PAGE = REPOSITORY / "docs" / "scaling.md"


def series(container: str, pod: str, *, waited_s: float, requests: float) -> list[dict[str, str]]:
    """In a minute."""
    labels = f'{{namespace="n",pod="{pod}",container="{container}"}}'
    return [
        {"series": f"slipway_queue_seconds_sum{labels}", "values": f"0+{waited_s}x5"},
        {"series": f"slipway_queue_seconds_count{labels}", "values": f"0+{requests}x5"},
    ]


def query_of(metric: str) -> str:
    """The adapter's rule as it asks Prometheus for all Pods of a namespace."""
    (text,) = re.findall(r"```yaml\n(rules:\n.*?)```", PAGE.read_text(), re.DOTALL)
    (rule,) = [rule for rule in yaml.safe_load(text)["rules"] if rule["name"]["as"] == metric]
    query: str = rule["metricsQuery"]
    return query.replace("<<.LabelMatchers>>", 'namespace="n"').replace("<<.GroupBy>>", "pod")


def ask(query: str, given: list[dict[str, str]], expected: dict[str, float], folder: Path) -> None:
    samples = [{"labels": f'{{pod="{pod}"}}', "value": value} for pod, value in expected.items()]
    test = {"interval": "1m", "input_series": given, "promql_expr_test": [{"expr": query, "eval_time": "5m", "exp_samples": samples}]}  # fmt: skip
    (folder / "test.yml").write_text(yaml.safe_dump({"rule_files": [], "evaluation_interval": "1m", "tests": [test]}))
    assert "SUCCESS" in promtool("test", "rules", folder / "test.yml")


def test_queue_s_delay_through_an_adapter_is_the_mean_of_the_slowest_container(tmp_path: Path) -> None:
    given = [
        *series("detector", "busy", waited_s=30.0, requests=120.0),
        *series("transformer", "busy", waited_s=6.0, requests=120.0),
        *series("detector", "idle", waited_s=0.0, requests=0.0),
    ]
    ask(query_of("slipway_queue_seconds"), given, {"busy": 0.25, "idle": 0}, tmp_path)


def test_requests_under_way_through_an_adapter_are_those_of_the_container_with_most(tmp_path: Path) -> None:
    given = [
        {"series": f'slipway_in_flight{{namespace="n",pod="{pod}",container="{container}"}}', "values": f"{value}x5"}
        for pod, container, value in (("busy", "executor", 9), ("busy", "detector", 4), ("idle", "executor", 0))
    ]
    ask(query_of("slipway_in_flight"), given, {"busy": 9, "idle": 0}, tmp_path)
