"""A mesh with all that the repository renders for Istio, two teams, and who asks from outside of it."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

from tests.data import REPOSITORY
from tests.manifests.cluster import PLATFORM, TEAMS, team, templates, workloads
from tests.manifests.kustomizations import built
from tests.manifests.mesh_flows import ROOT, Party

Object = dict[str, Any]
INJECTION, OF_POD = "istio-injection", "sidecar.istio.io/inject"
GATEWAY = Party(ROOT, "istio-ingressgateway", {"istio": "ingressgateway"}, has_proxy=True, is_gateway=True)
OF_CHARTS = {
    "gateway": GATEWAY,
    "gateway of istioctl": replace(GATEWAY, account="istio-ingressgateway-service-account"),
    "prometheus": Party("monitoring", "prometheus"),
    "notebook": Party("jupyterhub", "user-ada"),
    "kubelet": Party(),
    "internet": Party(),
}
"""By their charts' accounts; JupyterHub's and Prometheus' namespaces ask for no sidecars."""


@cache
def objects() -> list[Object]:
    """The AuthorizationPolicies and PeerAuthentications of a cluster whose gateway is public."""
    rendered = [*built(REPOSITORY / "istio/overlays/public"), *(item for name in TEAMS for item in team(name))]
    return [item for item in rendered if item["kind"] in ("AuthorizationPolicy", "PeerAuthentication")]


@cache
def parties() -> dict[str, Party]:
    """By the names of tests/manifests/cluster.py; ``blue tenant`` runs as the team's account, ``blue guest`` as no policy's."""
    found = dict(OF_CHARTS)
    for folder in PLATFORM:
        rendered = built(REPOSITORY / folder)
        for item, template in templates(rendered):
            found[item["metadata"]["name"]] = _party(item["metadata"]["namespace"], template, rendered)
    for name in TEAMS:
        for workload, template in workloads():
            found[f"{name} {workload}"] = _party(name, template, team(name))
        found |= {f"{name} {account}": Party(name, account, has_proxy=True) for account in ("tenant", "guest")}
    return found


def _party(namespace: str, template: Object, rendered: list[Object]) -> Party:
    labels = template["metadata"].get("labels") or {}
    of_namespaces = [item["metadata"].get("labels") or {} for item in rendered if _is_namespace(item, namespace)]
    is_injected = any(given.get(INJECTION) == "enabled" for given in of_namespaces)
    account = template["spec"].get("serviceAccountName", "default")
    return Party(namespace, account, labels, has_proxy=is_injected and labels.get(OF_POD) != "false")


def _is_namespace(item: Object, name: str) -> bool:
    return bool(item["kind"] == "Namespace" and item["metadata"]["name"] == name)
