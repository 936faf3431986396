"""What Istio's objects in istio/ have to agree on with the controller, and among themselves."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from slipway.contract.defaulting import PortPlan
from slipway.onebox.mesh.authentication import GATEWAY_NAMESPACE
from tests.data import REPOSITORY
from tests.manifests.files import KUSTOMIZATION
from tests.manifests.kustomizations import built

ISTIO = REPOSITORY / "istio"
GOLDEN = sorted((REPOSITORY / "tests" / "controller" / "golden").glob("*.yaml"))


def test_every_object_about_the_gateway_selects_it():
    found = [item for name in ("cluster", "public") for item in built(ISTIO / "overlays" / name)]
    about = [item for item in found if item["metadata"]["namespace"] == GATEWAY_NAMESPACE]
    selectors = {
        item["kind"]: item["spec"].get("selector", item["spec"].get("workloadSelector", {}))
        for item in about
        if item["metadata"]["name"] not in ("slipway-sidecars", "default")
    }
    labels = {"istio": "ingressgateway"}
    ways = {"Gateway": labels, "Service": labels, "EnvoyFilter": {"labels": labels}}
    assert {kind: ways.get(kind, {"matchLabels": labels}) for kind in selectors} == selectors
    assert {"Telemetry", "RequestAuthentication", "AuthorizationPolicy"} <= set(selectors)


def test_the_access_log_is_a_provider_of_the_control_planes_values():
    (telemetry,) = (item for item in built(ISTIO / "overlays" / "cluster") if item["kind"] == "Telemetry")
    named = {item["name"] for log in telemetry["spec"]["accessLogging"] for item in log["providers"]}
    values = yaml.safe_load((REPOSITORY / "helm-values" / "istiod.yaml").read_text())
    assert named == {item["name"] for item in values["meshConfig"]["extensionProviders"]}


def test_public_gateway_says_nothing_in_the_clear():
    (gateway,) = (item for item in built(ISTIO / "overlays" / "public") if item["kind"] == "Gateway")
    clear, secure, inside = gateway["spec"]["servers"]
    assert clear["tls"] == {"httpsRedirect": True}
    assert (secure["port"]["protocol"], secure["tls"]["mode"]) == ("HTTPS", "SIMPLE")
    values = yaml.safe_load((REPOSITORY / "helm-values" / "istio-gateway.yaml").read_text())["service"]
    assert values["type"] == "LoadBalancer"
    assert "ports" not in values  # the chart's: 15021, 80, 443
    assert inside["port"]["number"] not in (15021, 80, 443)


def test_callers_of_the_cluster_have_a_way_in_without_a_token():
    """A port that a Service of the cluster has and a rule lets in; the hub's notebooks may go there."""
    found = {
        item["kind"]: item for item in built(ISTIO / "overlays" / "public") if item["kind"] in ("Gateway", "Service")
    }
    (port,) = found["Service"]["spec"]["ports"]
    number = port["port"]
    assert found["Service"]["spec"]["type"] == "ClusterIP"
    assert port["targetPort"] == number
    (server,) = [item for item in found["Gateway"]["spec"]["servers"] if item["port"]["number"] == number]
    assert "tls" not in server
    assert server["hosts"] == ["*"]
    policies = [item for item in built(ISTIO / "overlays" / "public") if item["kind"] == "AuthorizationPolicy"]
    rules = [rule for item in policies for rule in item["spec"]["rules"]]
    assert {"to": [{"operation": {"ports": [str(number)]}}]} in rules
    assert [rule for rule in rules if "from" not in rule] == [{"to": [{"operation": {"ports": [str(number)]}}]}]
    hub = yaml.safe_load((REPOSITORY / "helm-values" / "jupyterhub.yaml").read_text())
    egress = hub["singleuser"]["networkPolicy"]["egress"]
    (way,) = [item for item in egress if "istio-system" in str(item["to"])]
    assert number in [item["port"] for item in way["ports"]]
    meta = found["Service"]["metadata"]
    address = f"http://{meta['name']}.{meta['namespace']}:{number}"
    for page in ("kubernetes.md", "traffic.md"):
        assert address in (REPOSITORY / "docs" / page).read_text()


def test_metrics_in_the_clear_are_at_the_ports_that_show_them():
    (found,) = (item for item in built(ISTIO / "overlays" / "tenant") if item["kind"] == "PeerAuthentication")
    golden = [obj for path in GOLDEN for obj in yaml.safe_load_all(path.read_text()) if obj["kind"] == "Deployment"]
    (wanted,) = found["spec"]["selector"]["matchLabels"].items()
    pods = [obj["spec"]["template"] for obj in golden]
    assert pods
    assert all(wanted in pod["metadata"]["labels"].items() for pod in pods)
    ports = [port for pod in pods for container in pod["spec"]["containers"] for port in container.get("ports", ())]
    shown = {port["containerPort"] for port in ports if port["name"] == PortPlan().metrics_name}
    assert {str(number) for number in (*shown, 8000)} <= set(found["spec"]["portLevelMtls"])
    assert found["spec"]["mtls"] == {"mode": "STRICT"}


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_generated_destination_rules_leave_certificates_to_istio(path):
    """``trafficPolicy.tls`` would switch automatic mTLS off, and STRICT would refuse the request."""
    rules = [obj for obj in yaml.safe_load_all(path.read_text()) if obj["kind"] == "DestinationRule"]
    assert rules
    for rule in rules:
        policies = [rule["spec"]["trafficPolicy"], *(item.get("trafficPolicy", {}) for item in rule["spec"]["subsets"])]
        assert all("tls" not in policy for policy in policies)


def test_a_tenant_of_another_name_is_wholly_in_its_namespace(tmp_path: Path):
    base = os.path.relpath(ISTIO / "overlays" / "tenant", tmp_path.resolve())
    content = {"kind": "Kustomization", "resources": [base], "namespace": "red"}
    (tmp_path / KUSTOMIZATION).write_text(yaml.safe_dump(content))
    found = built(tmp_path)
    places = {item["metadata"]["name" if item["kind"] == "Namespace" else "namespace"] for item in found}
    assert places == {"red"}
    (namespace,) = (item for item in found if item["kind"] == "Namespace")
    assert namespace["metadata"]["labels"]["istio-injection"] == "enabled"
    (policy,) = (item for item in found if item["kind"] == "AuthorizationPolicy")
    accounts = policy["spec"]["rules"][0]["from"][0]["source"]["serviceAccounts"]
    assert {name.partition("/")[0] for name in accounts if "/" in name} == {GATEWAY_NAMESPACE}
