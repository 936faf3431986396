"""A cluster with all that the repository renders, two teams, and the Pods and policies of the charts that it installs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from itertools import count
from typing import Any

from slipway.cli.tenant_objects import Team, objects_of
from slipway.contract.sdep import SeldonDeployment
from slipway.controller.desired import desired
from slipway.controller.facts import Facts
from tests.data import REPOSITORY
from tests.helm_values.charts import load
from tests.manifests.flows import End
from tests.manifests.kustomizations import built
from tests.manifests.rules import TEMPLATES

Object = dict[str, Any]
PLATFORM = ("kubernetes", "mlflow/overlays/cnpg")
TEAMS = ("blue", "green")
STORE = ("master", "volume", "filer", "s3")
OF_CHARTS: dict[tuple[str, str], dict[str, str]] = {
    ("istio-system", "gateway"): {"istio": "ingressgateway"},
    ("istio-system", "istiod"): {"app": "istiod"},
    ("monitoring", "prometheus"): {"app.kubernetes.io/name": "prometheus"},
    ("cnpg-system", "operator"): {"app.kubernetes.io/name": "cloudnative-pg"},
    ("slipway-system", "database"): {"cnpg.io/cluster": "mlflow-db"},
    ("jupyterhub", "notebook"): {"component": "singleuser-server"},
    ("kube-system", "dns"): {"k8s-app": "kube-dns"},
    ("default", "stranger"): {},
    **{
        ("seaweedfs", f"store {name}"): {"app.kubernetes.io/name": "seaweedfs", "app.kubernetes.io/component": name}
        for name in STORE
    },
}
"""(namespace, name) → the labels that our policies select by, as the chart or the operator writes them."""
OUTSIDE = {"api server": "172.16.0.2", "internet": "93.184.216.34", "metadata": "169.254.169.254"}
_addresses = count(1)


@cache
def ends() -> dict[str, End]:
    """Everything that asks or is asked, by a name: objects of ours by theirs, a team's after its namespace."""
    found = {name: End(address) for name, address in OUTSIDE.items()}
    found |= {name: _pod(namespace, labels) for (namespace, name), labels in OF_CHARTS.items()}
    for folder in PLATFORM:
        for item, template in templates(built(REPOSITORY / folder)):
            found[item["metadata"]["name"]] = _of_template(item["metadata"]["namespace"], template)
    for team in TEAMS:
        for name, template in workloads():
            found[f"{team} {name}"] = _of_template(team, template)
    return found


def templates(objects: list[Object]) -> Iterator[tuple[Object, Object]]:
    """Each object that makes Pods, with what it makes them of."""
    for item in objects:
        if path := TEMPLATES.get(item["kind"]):
            template = item
            for key in path[:-1]:
                template = template[key]
            yield item, template


def workloads() -> Iterator[tuple[str, Object]]:
    """What every team has, by name: two SeldonDeployments, one of them with an executor apart, and a training Job."""
    for name, folder in (("predictor", "seldon/base/yolo"), ("apart", "seldon/overlays/separate-orchestrator")):
        (document,) = [item for item in built(REPOSITORY / folder) if item["kind"] == "SeldonDeployment"]
        for _, template in templates(desired(SeldonDeployment.from_json(document), Facts())):
            is_engine = name == "apart" and "seldon-app" in template["metadata"]["labels"]
            yield f"{name} engine" if is_engine else name, template
    ((_, template),) = templates(built(REPOSITORY / "kubernetes/training/cpu"))
    yield "training", template


def _of_template(namespace: str, template: Object) -> End:
    ports: dict[str, set[int]] = defaultdict(set)
    for container in template["spec"]["containers"]:
        for item in container.get("ports") or ():
            ports[item.get("name", "")].add(item["containerPort"])
    named = {name: frozenset(numbers) for name, numbers in ports.items()}
    return _pod(namespace, template["metadata"].get("labels") or {}, named)


def _pod(namespace: str, labels: dict[str, str], ports: dict[str, frozenset[int]] | None = None) -> End:
    return End(f"10.1.0.{next(_addresses)}", namespace, labels, ports or {})


@cache
def namespaces() -> dict[str, dict[str, str]]:
    names = {end.namespace for end in ends().values() if end.namespace}
    objects = [item for name in TEAMS for item in team(name) if item["kind"] == "Namespace"]
    given = {item["metadata"]["name"]: item["metadata"].get("labels") or {} for item in objects}
    return {name: {"kubernetes.io/metadata.name": name, **given.get(name, {})} for name in names}


def team(name: str) -> list[Object]:
    """As `slipway tenant add` makes it."""
    return objects_of(Team(name), built(REPOSITORY / "seldon/team"))


@cache
def policies() -> list[Object]:
    """All NetworkPolicies: ours, and those that charts make of our values."""
    ours = [item for folder in PLATFORM for item in built(REPOSITORY / folder)]
    ours += [item for name in TEAMS for item in team(name)]
    return [*(item for item in ours if item["kind"] == "NetworkPolicy"), *_of_store(), _of_notebooks()]


def _of_store() -> Iterator[Object]:
    """SeaweedFS' chart: one per component, with what is open to the release's own Pods (its values.yaml, networkPolicy)."""
    values = load(REPOSITORY / "helm-values" / "seaweedfs.yaml")["networkPolicy"]
    if not values["enabled"]:
        return
    own = {"podSelector": {"matchLabels": {"app.kubernetes.io/name": "seaweedfs"}}}
    for name in STORE:
        also = (values["components"].get(name) or {}).get("extraIngress") or []
        yield _policy(
            "seaweedfs",
            {"app.kubernetes.io/name": "seaweedfs", "app.kubernetes.io/component": name},
            {"ingress": [{"from": [own]}, *(values.get("extraIngress") or []), *also]},
        )


def _of_notebooks() -> Object:
    """JupyterHub's chart: our rules, names, and what is outside (its values.yaml, singleuser.networkPolicy)."""
    rules = load(REPOSITORY / "helm-values" / "jupyterhub.yaml")["singleuser"]["networkPolicy"]["egress"]
    private = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.169.254/32"]
    names = {"ports": [{"port": 53, "protocol": kind} for kind in ("UDP", "TCP")]}
    outside = {"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": private}}]}
    return _policy(
        "jupyterhub", {"component": "singleuser-server"}, {"ingress": [], "egress": [*rules, names, outside]}
    )


def _policy(namespace: str, labels: dict[str, str], spec: Object) -> Object:
    return {
        "metadata": {"name": "of-a-chart", "namespace": namespace},
        "spec": {"podSelector": {"matchLabels": labels}, **spec},
    }
