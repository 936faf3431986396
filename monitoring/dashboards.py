"""Grafana's dashboards from a table of panels:

    python monitoring/dashboards.py            # writes monitoring/grafana/*.json
    python monitoring/dashboards.py --check    # exit code 1 where a file is not what the table says

A panel is a title, a unit and queries; everything else that Grafana wants to know is the same for all. The form is that of
Grafana's dashboards, schema version 39 (https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "grafana"
SCHEMA_VERSION = 39
COLUMNS = 24  # of Grafana's grid
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
REQUESTS = "seldon_api_executor_server_requests_seconds"
PREDICTIONS = 'service!~"feedback|status|metadata|.*(SendFeedback|Metadata|Ready|Live)"'


@dataclass(frozen=True)
class Query:
    """``legend``: a text with {{label}} in it."""

    expr: str
    legend: str


@dataclass(frozen=True)
class Panel:
    """``kind``: a panel of Grafana's, ``timeseries`` or ``stat``. ``unit``: one of Grafana's names."""

    title: str
    unit: str
    queries: tuple[Query, ...]
    text: str = ""
    kind: str = "timeseries"
    width: int = 8


@dataclass(frozen=True)
class Variable:
    """``query``: which values there are to choose from; ``is_many``: several or all of them may be chosen."""

    name: str
    query: str
    is_many: bool = False


@dataclass(frozen=True)
class Dashboard:
    uid: str
    title: str
    panels: tuple[Panel, ...]
    variables: tuple[Variable, ...] = ()


def _line(title: str, unit: str, *queries: tuple[str, str], text: str = "", width: int = 8) -> Panel:
    return Panel(title, unit, tuple(Query(*query) for query in queries), text, width=width)


def _stat(title: str, unit: str, expr: str, text: str = "") -> Panel:
    return Panel(title, unit, (Query(expr, ""),), text, kind="stat", width=6)


PREDICTOR = "{{namespace}}/{{deployment_name}} {{predictor_name}}"
OVERVIEW = Dashboard(
    "slipway-overview",
    "Slipway: all deployments",
    (
        _stat("Requests at the gateway", "reqps", "sum(slipway:gateway_requests:rate5m)"),
        _stat("Errors at the gateway", "percentunit", "slipway:gateway_error_ratio:rate5m", "Answers with 5xx."),
        _stat("Targets without an answer", "none", 'sum(up{job=~"slipway-.*"} == bool 0)'),
        _stat("Alerts", "none", 'count(ALERTS{alertstate="firing"}) or vector(0)'),
        _line(
            "Predictions of deployments",
            "reqps",
            (
                "sum by (namespace, deployment_name) (slipway:predictor_requests:rate5m)",
                "{{namespace}}/{{deployment_name}}",
            ),
        ),
        _line("Answers of the gateway", "reqps", ("slipway:gateway_requests:rate5m", "{{class}}xx")),
        _line(
            "How fast the budget of errors burns",
            "none",
            ('slipway:error_ratio{window="1h"} / 0.001', "{{namespace}}/{{deployment_name}}"),
            text="1 uses up a month's errors (99.9 %) in a month; an alert comes at 14.4.",
        ),
        _line("99 of 100 predictions take at most", "s", ("slipway:predictor_seconds:p99_5m", PREDICTOR)),
        _line("Predictions that fail", "percentunit", ("slipway:predictor_error_ratio:rate5m", PREDICTOR)),
        _line("Predictions refused as too many", "reqps", ("slipway:predictor_refusals:rate5m", PREDICTOR)),
        _line("Under way", "none", ("slipway:in_flight", PREDICTOR), text="Requests in executors."),
        _line(
            "Queues before components",
            "s",
            ("slipway:queue_seconds:p95_5m", "{{deployment_name}} {{predictor_name}} {{model_name}}"),
            text="19 of 20 requests wait at most this long for the component's thread.",
        ),
        _line(
            "Memory of the gateway",
            "bytes",
            ("envoy_server_memory_allocated", "{{pod}}"),
            text="On one machine.",
        ),
    ),
)

_OF = 'namespace="$namespace", deployment_name="$deployment"'
AT_GATEWAY = 'envoy_cluster_upstream_rq_xx{namespace="$namespace", service=~"$deployment-.*"}'
DEPLOYMENT = Dashboard(
    "slipway-deployment",
    "Slipway: one deployment, canary beside stable",
    (
        _line("Predictions", "reqps", (f"slipway:predictor_requests:rate5m{{{_OF}}}", "{{predictor_name}}")),
        _line(
            "Share of each predictor",
            "percentunit",
            (f"slipway:predictor_share:rate5m{{{_OF}}}", "{{predictor_name}}"),
            text="What was answered, not what is declared; `slipway split` has both.",
        ),
        _line("Failed", "percentunit", (f"slipway:predictor_error_ratio:rate5m{{{_OF}}}", "{{predictor_name}}")),
        _line("Half take at most", "s", (f"slipway:predictor_seconds:p50_5m{{{_OF}}}", "{{predictor_name}}")),
        _line("19 of 20 take at most", "s", (f"slipway:predictor_seconds:p95_5m{{{_OF}}}", "{{predictor_name}}")),
        _line("99 of 100 take at most", "s", (f"slipway:predictor_seconds:p99_5m{{{_OF}}}", "{{predictor_name}}")),
        _line(
            "Answers by code",
            "reqps",
            (
                f"sum by (predictor_name, code) (rate({REQUESTS}_count{{{_OF}, {PREDICTIONS}}}[5m]))",
                "{{predictor_name}} {{code}}",
            ),
            text="HTTP status, or the name of gRPC's.",
        ),
        _line(
            "Nodes",
            "s",
            (f"slipway:node_seconds:p95_5m{{{_OF}}}", "{{predictor_name}} {{model_name}}"),
            text="19 of 20 calls.",
        ),
        _line(
            "Queues",
            "s",
            (f"slipway:queue_seconds:p95_5m{{{_OF}}}", "{{predictor_name}} {{model_name}}"),
            text="19 of 20 waits.",
        ),
        _line("Under way", "none", (f"slipway:in_flight{{{_OF}}}", "{{predictor_name}}")),
        _line("Refused as too many", "reqps", (f"slipway:predictor_refusals:rate5m{{{_OF}}}", "{{predictor_name}}")),
        _line(
            "As the gateway sees it",
            "reqps",
            (
                f"sum by (predictor_name, envoy_response_code_class) (rate({AT_GATEWAY}[5m]))",
                "{{predictor_name}} {{envoy_response_code_class}}xx",
            ),
            text="On one machine: also what no executor answered.",
        ),
        _line(
            "What is found",
            "short",
            (
                f"sum by (predictor_name, label) (rate(yolo_detections_total{{{_OF}}}[5m]))",
                "{{predictor_name}} {{label}}",
            ),
            text="Detections per second, of detectors of this repository.",
            width=COLUMNS,
        ),
    ),
    (
        Variable("namespace", f"label_values({REQUESTS}_count, namespace)"),
        Variable("deployment", f'label_values({REQUESTS}_count{{namespace="$namespace"}}, deployment_name)'),
    ),
)

_POD = 'namespace="$namespace", pod=~"$pod"'
PODS = Dashboard(
    "slipway-pods",
    "Slipway: Pods",
    (
        _line("Shows metrics", "none", (f'up{{job="slipway-pods", {_POD}}}', "{{pod}} {{container}}"), width=12),
        _line(
            "Predictions",
            "reqps",
            (f"sum by (pod) (rate({REQUESTS}_count{{{_POD}, {PREDICTIONS}}}[5m]))", "{{pod}}"),
            width=12,
        ),
        _line("Under way", "none", (f"slipway_in_flight{{{_POD}}}", "{{pod}} {{container}}")),
        _line(
            "19 of 20 take at most",
            "s",
            (
                f"histogram_quantile(0.95, sum by (pod, le) (rate({REQUESTS}_bucket{{{_POD}, {PREDICTIONS}}}[5m])))",
                "{{pod}}",
            ),
        ),
        _line(
            "Queues",
            "s",
            (
                f"histogram_quantile(0.95, sum by (pod, container, le) (rate(slipway_queue_seconds_bucket{{{_POD}}}[5m])))",
                "{{pod}} {{container}}",
            ),
            text="19 of 20 waits.",
        ),
        _line("Processors of the executor", "short", (f"rate(process_cpu_seconds_total{{{_POD}}}[5m])", "{{pod}}")),
        _line("Memory of the executor", "bytes", (f"process_resident_memory_bytes{{{_POD}}}", "{{pod}}")),
        _line("Open files of the executor", "none", (f"process_open_fds{{{_POD}}}", "{{pod}}")),
    ),
    (
        Variable("namespace", f"label_values({REQUESTS}_count, namespace)"),
        Variable("pod", f'label_values({REQUESTS}_count{{namespace="$namespace"}}, pod)', is_many=True),
    ),
)
DASHBOARDS = {"overview": OVERVIEW, "deployment": DEPLOYMENT, "pods": PODS}


def render(dashboard: Dashboard) -> dict[str, Any]:
    """Grafana's JSON model; it gives a dashboard its number when it takes it in."""
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "tags": ["slipway"],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "time": {"from": "now-1h", "to": "now"},
        "refresh": "10s",
        "timezone": "",
        "annotations": {"list": []},
        "links": [
            {"type": "dashboards", "tags": ["slipway"], "title": "Slipway", "asDropdown": True, "keepTime": True}
        ],
        "templating": {"list": [_render_source(), *map(_render_variable, dashboard.variables)]},
        "panels": list(_placed(dashboard.panels)),
    }


def _render_source() -> dict[str, Any]:
    return {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "hide": 0}


def _render_variable(variable: Variable) -> dict[str, Any]:
    return {
        "name": variable.name,
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": variable.query, "refId": variable.name},
        "refresh": 2,
        "sort": 1,
        "multi": variable.is_many,
        "includeAll": variable.is_many,
        "allValue": ".*" if variable.is_many else None,
        "hide": 0,
    }


def _placed(panels: Sequence[Panel]) -> Iterator[dict[str, Any]]:
    """From left to right, a new row where the next one does not fit."""
    x = y = 0
    for number, panel in enumerate(panels, start=1):
        height = 4 if panel.kind == "stat" else 8
        if x + panel.width > COLUMNS:
            x, y = 0, y + 8
        yield {**_render_panel(panel, number), "gridPos": {"x": x, "y": y, "w": panel.width, "h": height}}
        x += panel.width


def _render_panel(panel: Panel, number: int) -> dict[str, Any]:
    targets = [
        {"refId": chr(ord("A") + place), "datasource": SOURCE, "expr": query.expr, "legendFormat": query.legend}
        for place, query in enumerate(panel.queries)
    ]
    is_stat = panel.kind == "stat"
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.text,
        "datasource": SOURCE,
        "targets": targets,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"reduceOptions": {"calcs": ["lastNotNull"]}}
        if is_stat
        else {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}},
    }


def texts() -> dict[Path, str]:
    """File → what it has to say."""
    return {
        FOLDER / f"{name}.json": json.dumps(render(dashboard), indent=1, ensure_ascii=False) + "\n"
        for name, dashboard in DASHBOARDS.items()
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 where a file differs")
    if parser.parse_args().check:
        wrong = [path for path, text in texts().items() if not path.exists() or path.read_text() != text]
        for path in wrong:
            print(f"{path}: is not what monitoring/dashboards.py says: run it", file=sys.stderr)
        return 1 if wrong else 0
    for path, text in texts().items():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
