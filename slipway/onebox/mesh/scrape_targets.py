"""Pods → the files in which Prometheus looks for what to scrape on one machine.

The form is that of its file-based discovery (https://prometheus.io/docs/prometheus/latest/configuration/configuration/
#file_sd_config). Labels have the names that Prometheus' operator gives them on a cluster.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Network
from typing import Any
from urllib.parse import urlsplit

from slipway.kube.scrape import expositions
from slipway.onebox.mesh.layout import ENVOYS
from slipway.onebox.mesh.stats_listener import STATS_PATH, stats_address

OVER = ("Succeeded", "Failed")

Object = Mapping[str, Any]
Group = dict[str, Any]


def pod_groups(pods: Iterable[Object]) -> list[Group]:
    """One group for each place where a Pod shows metrics, in the order of their names."""
    groups = (group for pod in pods for group in _groups_of(pod))
    return sorted(groups, key=lambda group: (*group["labels"].values(), group["targets"]))


def _groups_of(pod: Object) -> Iterator[Group]:
    if (pod.get("status") or {}).get("phase") in OVER:
        return
    meta = pod["metadata"]
    for found in expositions(pod):
        url = urlsplit(found.url)
        labels = {"namespace": meta["namespace"], "pod": meta["name"], "container": found.container}
        yield {"targets": [url.netloc], "labels": {**labels, "__scheme__": url.scheme, "__metrics_path__": url.path}}


def envoy_groups(network: IPv4Network) -> list[Group]:
    """Both Envoys of the gateway."""
    return [
        {
            "targets": [stats_address(network, index)],
            "labels": {"pod": f"envoy-{index}", "container": "envoy", "__metrics_path__": STATS_PATH},
        }
        for index in ENVOYS
    ]
