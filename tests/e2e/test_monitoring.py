"""A real Prometheus beside the real platform: it finds every Pod and Envoy, and every panel of every dashboard has figures."""

from __future__ import annotations

import math

from monitoring import dashboards
from slipway.drill.reply import Reply
from tests.e2e.load import Load
from tests.e2e.platform import Platform
from tests.monitoring.prometheus import Prometheus, running_prometheus
from tests.waiting import wait_until

WITHIN_S = 120.0
RATE = 10  # requests a second, of which the canary gets one
VALUES = {"$namespace": "default", "$deployment": "yolo", "$pod": "yolo-.*"}


def test_prometheus_scrapes_every_pod_and_envoy_and_every_panel_has_figures(platform, tmp_path):
    wanted = places(platform)
    assert len(wanted) >= 8
    url = f"http://{platform.gateway}/seldon/default/yolo/api/v1.0/predictions"
    with running_prometheus(tmp_path, platform.home) as prometheus, Load(url, rate=RATE) as load:
        wait_until(lambda: wanted <= scraped(prometheus), timeout_s=WITHIN_S, what=f"{wanted} up")
        wait_until(lambda: len(shares(prometheus)) == 2, timeout_s=WITHIN_S, what="the share of both predictors")
        wait_until(lambda: not without_figures(prometheus), timeout_s=WITHIN_S, what="figures of every panel")
        assert [alert for alert in prometheus.get("alerts")["alerts"] if "deployment_name" in alert["labels"]] == []
        found = shares(prometheus)
    assert found["stable"] > found["canary"]
    assert math.isclose(sum(found.values()), 1)
    assert {reply.status for reply in load.replies if isinstance(reply, Reply)} == {200}


def shares(prometheus: Prometheus) -> dict[str, float]:
    """By predictor that answered anything."""
    series = prometheus.query('slipway:predictor_share:rate5m{namespace="default", deployment_name="yolo"} > 0')
    return {item["metric"]["predictor_name"]: float(item["value"][1]) for item in series}


def places(platform: Platform) -> set[tuple[str, str]]:
    """Pod and container of all that shows metrics of the demo's deployment, and the Envoys."""
    found = platform.pods(selector="seldon-deployment-id=yolo")
    containers = {(pod["metadata"]["name"], item["name"]) for pod in found for item in pod["spec"]["containers"]}
    return containers | {("envoy-0", "envoy"), ("envoy-1", "envoy")}


def scraped(prometheus: Prometheus) -> set[tuple[str, str]]:
    return {
        (item["labels"]["pod"], item["labels"]["container"]) for item in prometheus.targets() if item["health"] == "up"
    }


def without_figures(prometheus: Prometheus) -> list[str]:
    """Panels with a query that has no answer, or no number in it."""
    return [
        f"{dashboard.title}: {panel.title}"
        for dashboard in dashboards.DASHBOARDS.values()
        for panel in dashboard.panels
        for query in panel.queries
        if not any(math.isfinite(float(item["value"][1])) for item in prometheus.query(of_the_demo(query.expr)))
    ]


def of_the_demo(expr: str) -> str:
    for name, value in VALUES.items():
        expr = expr.replace(name, value)
    return expr
