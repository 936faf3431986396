"""Each check both ways: a cluster in order, and the same one with one thing broken."""

from __future__ import annotations

import copy
import dataclasses
from datetime import datetime, timedelta
from typing import Any

import click
import pytest
import yaml

from slipway.cli.main import main
from slipway.contract.limits import MAX_BODY_BYTES
from slipway.doctor.check import Check
from slipway.doctor.checks.definition import ADOPTION
from slipway.doctor.checks.pod_security import refused
from slipway.doctor.checks.sample import sample_pod
from slipway.doctor.facts import Facts
from slipway.doctor.finding import MAX_SHOWN_CHARS, Finding, Report, render_report
from slipway.doctor.findings import findings
from slipway.doctor.order import CHECKS
from slipway.onebox.mesh.limits import RETRY_BUFFER_BYTES
from tests.data import REPOSITORY, SCHEMAS
from tests.doctor.cluster import NOW, TEAM, Break, Cluster, certificates, deployment, encoded, make, node, pod, secret


def of(cluster: Cluster, check: str) -> list[Finding]:
    facts = cluster.facts()
    return list(dict.fromkeys(item for one in CHECKS if one.name == check for item in one.findings(facts)))


def test_a_cluster_in_order_has_nothing_to_be_fixed() -> None:
    levels = {(item.check, item.level, item.what) for item in findings(Cluster().facts())}
    assert {item for item in levels if item[1] != "ok"} == set()


def test_every_check_says_something_of_a_cluster_in_order() -> None:
    silent = {"limits"}  # of a namespace without LimitRange there is nothing to say
    assert {item.check for item in findings(Cluster().facts())} == {check.name for check in CHECKS} - silent


def _hook(cluster: Cluster) -> dict[str, Any]:
    hook: dict[str, Any] = cluster.get("ValidatingWebhookConfiguration")["webhooks"][0]
    return hook


def _quota(key: str, hard: str, used: str = "0") -> dict[str, Any]:
    return make("ResourceQuota", "team", TEAM, status={"hard": {key: hard}, "used": {key: used}})


def _range(**limit: Any) -> dict[str, Any]:
    return make("LimitRange", "team", TEAM, spec={"limits": [{"type": "Container", **limit}]})


def _labels(labels: dict[str, str]) -> Break:
    return lambda cluster: cluster.get("Namespace")["metadata"].update(labels=labels)


def _limit(key: str, value: int) -> Break:
    """That setting in every EnvoyFilter."""

    def set_in(part: Any) -> None:
        for name, inner in (
            part.items() if isinstance(part, dict) else enumerate(part if isinstance(part, list) else ())
        ):
            if name == key:
                part[name] = value
            else:
                set_in(inner)

    return lambda cluster: [set_in(obj) for obj in cluster.objects if obj["kind"] == "EnvoyFilter"]


def _elsewhere(context: str) -> Break:
    """What is for ``context`` is for nobody."""

    def change(cluster: Cluster) -> None:
        for obj in cluster.objects:
            for patch in obj["spec"]["configPatches"] if obj["kind"] == "EnvoyFilter" else ():
                if patch["match"]["context"] == context:
                    patch["match"]["context"] = "SIDECAR_INBOUND"

    return change


def _versions(*names: str) -> Break:
    served = [{"name": name, "served": True} for name in names]
    return lambda cluster: cluster.get("CustomResourceDefinition")["spec"].update(versions=served)


def _generations(newest: int, seen: int) -> Break:
    def change(cluster: Cluster) -> None:
        cluster.get("SeldonDeployment")["metadata"]["generation"] = newest
        cluster.get("SeldonDeployment")["status"]["observedGeneration"] = seen

    return change


def _replace(new: dict[str, Any]) -> Break:
    def change(cluster: Cluster) -> None:
        cluster.drop(new["kind"], new["metadata"]["name"])
        cluster.objects.append(new)

    return change


def _without_keys(*keys: str) -> Break:
    def change(cluster: Cluster) -> None:
        for key in keys:
            del cluster.get("Secret", "slipway-model-storage")["data"][key]

    return change


def _unready(kind: str, name: str) -> Break:
    return lambda cluster: cluster.get(kind, name)["status"].update(conditions=[{"type": "Ready", "status": "False"}])


def _all(*breaks: Break) -> Break:
    def change(cluster: Cluster) -> None:
        for one in breaks:
            one(cluster)

    return change


def _shown(ends: datetime) -> Break:
    """A certificate of another authority, which ends then."""
    pair = encoded(certificates(ends).certificate)
    return lambda cluster: cluster.get("Secret", "slipway-webhook-certificate").update(data={"tls.crt": pair})


def _replace_definition(cluster: Cluster) -> None:
    """By Seldon's."""
    text = (SCHEMAS / "seldon-core" / "seldondeployments.v1-small.yaml").read_text()
    established = {"conditions": [{"type": "Established", "status": "True"}]}
    _replace({**yaml.load(text, Loader=yaml.CSafeLoader), "status": established})(cluster)


CASES: dict[str, tuple[str, str, str, Break]] = {
    # name: (check, level, what is said, what is broken)
    "old kubernetes": ("kubernetes", "fail", "v1.24.1", lambda c: setattr(c, "version", "v1.24.1")),
    "older kubernetes": ("kubernetes", "warn", "stable from 1.29", lambda c: setattr(c, "version", "v1.28.9+k3s1")),
    "no version": ("kubernetes", "unknown", "no version of Kubernetes", lambda c: setattr(c, "version", "x")),
    "no istio": ("istio", "fail", "not installed", lambda c: c.served.difference_update({*c.served} - {"v1"})),
    "old istio": ("istio", "fail", "networking.istio.io/v1 is not served", lambda c: c.served.discard("networking.istio.io/v1")),
    "no istiod": ("istio", "warn", "no Deployment with app=istiod", lambda c: c.drop("Deployment", "istiod")),
    "no keda": ("keda", "n/a", "not installed", lambda c: (c.served.discard("keda.sh/v1alpha1"), c.drop("Deployment", "slipway-controller"))),
    "keda left": ("keda", "fail", "KEDA is not installed", _all(lambda c: c.served.discard("keda.sh/v1alpha1"))),
    "keda unused": ("keda", "warn", "no --keda", lambda c: c.get("Deployment", "slipway-controller")["spec"]["template"]["spec"]["containers"][0].update(args=[])),
    "keda kinds only": ("keda", "warn", "no Deployment", lambda c: c.drop("Deployment", "keda-operator")),
    "no prometheus": ("prometheus", "n/a", "no Prometheus operator", lambda c: c.served.discard("monitoring.coreos.com/v1")),
    "no operator": ("prometheus", "warn", "no Deployment", lambda c: c.drop("Deployment", "operator")),
    "no node": ("nodes", "fail", "no node", lambda c: c.drop("Node")),
    "a node away": ("nodes", "warn", "1 of 2 ready", _unready("Node", "two")),
    "a cordoned node": ("nodes", "warn", "1 of 2 ready", lambda c: c.get("Node", "two")["spec"].update(unschedulable=True)),
    "all nodes away": ("nodes", "fail", "0 of 2 ready", _all(_unready("Node", "one"), _unready("Node", "two"))),
    "an arm": ("architecture", "warn", "2 amd64, 1 arm64", lambda c: c.objects.append(node("arm", architecture="arm64"))),
    "no gpu": ("gpu", "n/a", "no node offers", lambda c: c.drop("Node", "two")),
    "no dns": ("dns", "warn", "another DNS", _all(lambda c: c.drop("Service", "kube-dns"), lambda c: c.drop("Pod", "coredns-1"), lambda c: c.drop("Pod", "coredns-2"))),
    "dns without service": ("dns", "warn", "no Service", lambda c: c.drop("Service", "kube-dns")),
    "dns down": ("dns", "fail", "none of 2", _all(_unready("Pod", "coredns-1"), _unready("Pod", "coredns-2"))),
    "may not create": ("permissions", "fail", "create seldondeployments.machinelearning.seldon.io", lambda c: c.denied.add("create seldondeployments.machinelearning.seldon.io")),
    "may not read logs": ("permissions", "fail", "get pods/log", lambda c: c.denied.add("get pods/log")),
    "controller may not": ("permissions", "fail", "the controller may not: patch seldondeployments/status.machine", lambda c: c.denied.add("patch seldondeployments/status.machinelearning.seldon.io")),
    "controller may not copy": ("permissions", "fail", "create secrets/slipway-model-storage", lambda c: c.denied.add("create secrets/slipway-model-storage")),
    "may not install": ("permissions", "n/a", "create clusterroles.rbac", lambda c: c.denied.add("create clusterroles.rbac.authorization.k8s.io")),
    "no definition": ("definition", "fail", "not defined", lambda c: c.drop("CustomResourceDefinition")),
    "definition without v1": ("definition", "fail", "only v1alpha2", _versions("v1alpha2")),
    "not established": ("definition", "fail", "names conflict", lambda c: c.get("CustomResourceDefinition").update(status={"conditions": [{"type": "Established", "status": "False", "message": "names conflict"}]})),
    "definition of others": ("definition", "warn", "somebody else's", _replace_definition),
    "definition of Helm": ("definition", "warn", "that of the Helm release seldon-system/seldon", lambda c: c.get("CustomResourceDefinition")["metadata"].update(labels={}, annotations={"meta.helm.sh/release-namespace": "seldon-system", "meta.helm.sh/release-name": "seldon"})),
    "definition of before": ("definition", "warn", "of another version or changed by hand", lambda c: c.get("CustomResourceDefinition")["spec"]["versions"][0].pop("additionalPrinterColumns")),
    "no controller": ("controller", "fail", "no Deployment slipway-controller", lambda c: c.drop("Deployment", "slipway-controller")),
    "controller down": ("controller", "fail", "none of 2", lambda c: c.get("Deployment", "slipway-controller").update(status={})),
    "one controller down": ("controller", "warn", "1 of 2", lambda c: c.get("Deployment", "slipway-controller").update(status={"readyReplicas": 1})),
    "other controller": ("controller", "warn", "version 0.0.9", _replace(deployment("slipway-controller", "slipway-system", "r.example:5000/slipway/controller:0.0.9@sha256:1"))),
    "no lease": ("controller", "fail", "nobody holds", lambda c: c.drop("Lease")),
    "given up": ("controller", "fail", "nobody holds", lambda c: c.get("Lease")["spec"].update(holderIdentity="")),
    "silent leader": ("controller", "fail", "has been silent", lambda c: c.get("Lease")["spec"].update(renewTime="2026-11-22T11:58:00.000000Z")),
    "leader of tomorrow": ("controller", "warn", "slipway-controller-x renewed its Lease 31 s from now", lambda c: c.get("Lease")["spec"].update(renewTime="2026-11-22T12:00:31.000000Z")),
    "no webhook": ("webhook", "warn", "no validating webhook", lambda c: c.drop("ValidatingWebhookConfiguration")),
    "webhook of Seldon": ("webhook", "warn", "no validating webhook", lambda c: _hook(c)["clientConfig"]["service"].update(namespace="seldon-system")),
    "webhook by address": ("webhook", "warn", "no validating webhook", lambda c: _hook(c).update(clientConfig={"url": "https://x"})),
    "nobody answers": ("webhook", "fail", "every change of a SeldonDeployment is refused", lambda c: c.drop("EndpointSlice")),
    "nobody answers, ignored": ("webhook", "warn", "only the definition's own rules", lambda c: (c.drop("EndpointSlice"), _hook(c).update(failurePolicy="Ignore"))),
    "no bundle": ("webhook", "fail", "slipway: caBundle: has no certificate", lambda c: _hook(c)["clientConfig"].update(caBundle="")),
    "garbage bundle": ("webhook", "fail", "slipway: caBundle: has no certificate", lambda c: _hook(c)["clientConfig"].update(caBundle="bm90IGEgY2VydA==")),
    "no pair": ("webhook", "fail", "slipway-system/slipway-webhook-certificate: has no certificate", lambda c: c.drop("Secret", "slipway-webhook-certificate")),
    "ends soon": ("webhook", "warn", "ends in 2 days", _shown(NOW + timedelta(days=2, hours=1))),
    "ended": ("webhook", "fail", "ended 2 days ago", _shown(NOW - timedelta(days=1, hours=1))),
    "another authority": ("webhook", "fail", "is signed by none", _shown(NOW + timedelta(days=70))),
    "no storage class": ("storage", "warn", "no StorageClass", lambda c: c.drop("StorageClass")),
    "no default class": ("storage", "warn", "none of them is the default", lambda c: c.get("StorageClass")["metadata"].pop("annotations")),
    "no secret": ("models", "fail", "not there", lambda c: c.drop("Secret", "slipway-model-storage")),
    "keys missing": ("models", "fail", "has no MLFLOW_TRACKING_USERNAME, AWS_SECRET_ACCESS_KEY", _without_keys("MLFLOW_TRACKING_USERNAME", "AWS_SECRET_ACCESS_KEY")),
    "placeholders": ("models", "fail", "AWS_SECRET_ACCESS_KEY, MLFLOW_TRACKING_PASSWORD still says CHANGE-ME", lambda c: c.get("Secret", "slipway-model-storage")["data"].update(dict.fromkeys(("AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_PASSWORD"), encoded(b"CHANGE-ME")))),
    "garbage in a secret": ("models", "fail", "has no AWS_DEFAULT_REGION", lambda c: c.get("Secret", "slipway-model-storage")["data"].update(AWS_DEFAULT_REGION="/w==")),
    "mlflow down": ("models", "fail", "MLflow at http://mlflow.slipway-system.svc:5000/health: no ready Pod behind its Service", lambda c: c.drop("EndpointSlice", "mlflow-1")),
    "s3 down": ("models", "fail", "S3 at https://s3.example.com/ answers 503 without credentials (from this machine)", lambda c: c.statuses.update(S3=503)),
    "s3 elsewhere": ("models", "warn", "S3 at https://s3.example.com/ answers 404 without", lambda c: c.statuses.update(S3=404)),
    "s3 leads away": ("models", "warn", "answers 307 without credentials (from this machine), a store of S3 200, 401, 403", lambda c: c.statuses.update(S3=307)),
    "s3 away": ("models", "unknown", "S3 at https://s3.example.com/: refused (from this machine)", lambda c: c.statuses.pop("S3")),
    "no gateway": ("gateway", "fail", "every VirtualService names it", lambda c: c.drop("Gateway")),
    "gateway of nobody": ("gateway", "fail", "no Pod has the labels istio=other", lambda c: c.get("Gateway")["spec"].update(selector={"istio": "other"})),
    "gateway down": ("gateway", "fail", "none of 2 gateway Pods", _all(_unready("Pod", "ingress-1"), _unready("Pod", "ingress-2"))),
    "one gateway": ("gateway", "warn", "1 of 2 gateway Pods ready", _unready("Pod", "ingress-1")),
    "no address": ("gateway", "warn", "waits for an address", lambda c: c.get("Service", "istio-ingressgateway").update(status={})),
    "no buffers": ("buffers", "fail", "no EnvoyFilter says what the gateway keeps", lambda c: c.drop("EnvoyFilter")),
    "buffers of others": ("buffers", "fail", "no EnvoyFilter says what the gateway keeps", _elsewhere("GATEWAY")),
    "no bound": ("buffers", "warn", "bounds the bodies", _elsewhere("GATEWAY")),
    "sidecars without": ("buffers", "warn", "what sidecars keep", _elsewhere("SIDECAR_OUTBOUND")),
    "small buffers": ("buffers", "fail", "request_body_buffer_limit is 1048576", _limit("request_body_buffer_limit", 1048576)),
    "just too small": ("buffers", "fail", str(RETRY_BUFFER_BYTES), _limit("request_body_buffer_limit", RETRY_BUFFER_BYTES - 1)),
    "small bodies": ("buffers", "fail", "max_request_bytes is 12582911", _limit("max_request_bytes", MAX_BODY_BYTES - 1)),
    "no namespace": ("namespace", "fail", "no such namespace", lambda c: c.drop("Namespace")),
    "mesh of a typo": ("mesh", "n/a", "no such namespace", lambda c: c.drop("Namespace")),
    "no sidecar, strict": ("mesh", "fail", "STRICT", _labels({})),
    "no sidecar": ("mesh", "warn", "no sidecar", _all(_labels({}), lambda c: c.drop("PeerAuthentication"))),
    "ambient": ("mesh", "warn", "ambient", _labels({"istio.io/dataplane-mode": "ambient"})),
    "no metrics, used": ("metrics", "fail", "cannot decide", lambda c: c.served.discard("metrics.k8s.io/v1beta1")),
    "no metrics": ("metrics", "warn", "would have no effect", lambda c: (c.served.discard("metrics.k8s.io/v1beta1"), c.drop("HorizontalPodAutoscaler"))),
    "no metrics yet": ("metrics", "warn", "knows no node", lambda c: c.drop("NodeMetrics")),
    "no external metrics": ("metrics", "fail", "External need external.metrics", lambda c: c.served.discard("external.metrics.k8s.io/v1beta1")),
    "quota of limits": ("quota", "warn", "limits.cpu is bounded", lambda c: c.objects.append(_quota("limits.cpu", "4"))),
    "quota used up": ("quota", "fail", "requests.memory: 262144 of 1Gi are left", lambda c: c.objects.append(_quota("requests.memory", "1Gi", "1073479680"))),
    "no Pods left": ("quota", "fail", "all 3 are taken", lambda c: c.objects.append(_quota("pods", "3", "3"))),
    "quota of a typo": ("quota", "n/a", "no such namespace", lambda c: c.drop("Namespace")),
    "pod security of a typo": ("pod security", "n/a", "no such namespace", lambda c: c.drop("Namespace")),
    "limits too low": ("limits", "fail", "max.memory is 256Mi, seldon-container-engine", lambda c: c.objects.append(_range(max={"memory": "256Mi"}))),
    "limits too high": ("limits", "fail", "min.cpu is 1, seldon-container-engine asks for 500m", lambda c: c.objects.append(_range(min={"cpu": "1"}))),
    "failed": ("deployments", "fail", "Failed: no such model", lambda c: c.get("SeldonDeployment").update(status={"state": "Failed", "description": "no such model"})),
    "creating": ("deployments", "warn", "Creating", lambda c: c.get("SeldonDeployment").update(status={"state": "Creating"})),
    "changed since": ("deployments", "warn", "no controller has looked at its generation 7 yet; of generation 3 it was Available", _generations(7, 3)),
    "nobody looked": ("deployments", "warn", "no controller has looked", lambda c: c.get("SeldonDeployment").update(status={})),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_is_broken_is_said(case: str) -> None:
    check, level, text, break_it = CASES[case]
    cluster = Cluster()
    break_it(cluster)
    found = [item for item in of(cluster, check) if item.level == level]
    assert any(text in f"{item.where}: {item.what}" for item in found), of(cluster, check)
    if level == "fail":
        assert all(item.repair for item in found)


def repairs() -> set[str]:
    found = set()
    for check, _, _, break_it in CASES.values():
        cluster = Cluster()
        break_it(cluster)
        found |= {item.repair for item in of(cluster, check) if item.repair}
    return found


def test_commands_and_folders_that_repair_exist() -> None:
    said = repairs()
    ours = {tuple(text.split()[1:3]) for text in said if text.startswith("slipway ")}
    for first, second in ours:
        command = main.get_command(click.Context(main), first)
        assert command is not None, first
        if isinstance(command, click.Group):
            assert second in command.commands, f"slipway {first} {second}"
    folders = {text.partition(" -k ")[2].partition(",")[0] for text in said if " -k " in text} - {"YOURS"}
    assert len(ours) > 3
    assert len(folders) > 2
    for folder in folders:
        assert (REPOSITORY / folder / "kustomization.yaml").exists(), folder
    for page in {word.strip("`,") for text in said for word in text.split() if word.startswith("docs/")}:
        assert (REPOSITORY / page).exists(), page


def test_every_check_is_broken_by_some_case() -> None:
    assert {case[0] for case in CASES.values()} >= {check.name for check in CHECKS} - {"pod security"}


def test_pod_security_restricted_names_the_rules_that_a_predictors_pods_break() -> None:
    cluster = Cluster()
    _labels({"pod-security.kubernetes.io/enforce": "restricted"})(cluster)
    (found,) = of(cluster, "pod security")
    broken = refused(sample_pod())
    assert found.level == ("fail" if broken else "ok")
    assert all(rule in found.what for rule in broken)


def test_a_pod_that_keeps_every_rule_is_let_in_and_each_rule_is_looked_at() -> None:
    profile = {"type": "RuntimeDefault"}
    container = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    pod: dict[str, Any] = {
        "securityContext": {"runAsNonRoot": True, "runAsUser": 8888, "seccompProfile": profile},
        "containers": [{"name": "c", "securityContext": container}],
        "volumes": [{"name": "v", "emptyDir": {}}],
    }
    assert refused(pod) == []
    for key, value, said in (
        ("securityContext", {**pod["securityContext"], "runAsNonRoot": False}, "runAsNonRoot"),
        ("securityContext", {**pod["securityContext"], "runAsUser": 0}, "runAsUser is 0"),
        ("securityContext", {**pod["securityContext"], "seccompProfile": {"type": "Unconfined"}}, "seccompProfile"),
        ("containers", [{"name": "c", "securityContext": {"capabilities": {"drop": ["ALL"]}}}], "allowPrivilege"),
        ("containers", [{"name": "c", "securityContext": {"allowPrivilegeEscalation": False}}], "capabilities"),
        ("volumes", [{"name": "v", "hostPath": {"path": "/"}}], "volume is not allowed (v)"),
    ):
        (rule,) = refused({**pod, key: value})
        assert said in rule


@pytest.mark.parametrize(("has_cni", "level"), [(False, "fail"), (True, "ok")])
def test_sidecars_in_a_namespace_that_enforces_baseline_need_istios_cni(has_cni: bool, level: str) -> None:
    cluster = Cluster()
    _labels({"istio-injection": "enabled", "pod-security.kubernetes.io/enforce": "baseline"})(cluster)
    cluster.objects += [pod("cni-1", "istio-system", {"k8s-app": "istio-cni-node"})] if has_cni else []
    (found,) = of(cluster, "pod security")
    assert found.level == level
    assert ("NET_ADMIN" in found.what) is not has_cni


def test_the_quota_and_the_limits_of_a_team_let_predictors_in() -> None:
    cluster = Cluster()
    for name in ("limitrange", "resourcequota"):
        manifest = yaml.safe_load((REPOSITORY / "seldon" / "team" / f"{name}.yaml").read_text())
        cluster.objects.append({**manifest, "metadata": {"name": "tenant", "namespace": TEAM}})
    assert [item.level for item in (*of(cluster, "quota"), *of(cluster, "limits"))] == ["ok", "ok"]


@pytest.mark.parametrize(
    ("kind", "chart"), [("Pods", "prometheus-adapter"), ("Object", "prometheus-adapter"), ("External", "keda")]
)
def test_what_serves_a_metric_is_named_with_its_values_and_its_page(kind: str, chart: str) -> None:
    cluster = Cluster()
    cluster.served.discard("external.metrics.k8s.io/v1beta1")
    cluster.get("HorizontalPodAutoscaler")["spec"]["metrics"] = [{"type": kind}]
    (repair,) = [item.repair for item in of(cluster, "metrics") if item.level == "fail"]
    assert repair == f"install {chart.replace('keda', 'KEDA')} with helm-values/{chart}.yaml: docs/kubernetes.md"
    assert (REPOSITORY / "helm-values" / f"{chart}.yaml").is_file()
    assert f"helm-values/{chart}.yaml" in (REPOSITORY / "docs" / "kubernetes.md").read_text()


def test_a_limit_range_with_defaults_fills_in_what_a_quota_wants() -> None:
    cluster = Cluster()
    cluster.objects += [_quota("limits.cpu", "4"), _range(default={"cpu": "1"})]
    assert [item.level for item in of(cluster, "quota")] == ["ok"]
    assert [item.level for item in of(cluster, "limits")] == ["ok"]


@pytest.mark.parametrize(
    "mode", [make("PeerAuthentication", "own", TEAM, spec={"mtls": {"mode": "DISABLE"}}), None], ids=["own", "mesh"]
)
def test_the_mode_of_the_namespace_goes_before_that_of_the_mesh(mode: dict[str, Any] | None) -> None:
    cluster = Cluster()
    cluster.objects += [mode] if mode else []
    (found,) = of(cluster, "mesh")
    assert ("DISABLE" if mode else "STRICT") in found.what


def test_an_address_in_a_secret_is_shown_without_what_stands_before_its_host() -> None:
    cluster = Cluster()
    cluster.drop("Secret", "slipway-model-storage")
    cluster.objects.append(secret(AWS_ENDPOINT_URL="http://user:hunter2@10.0.0.1:8333"))
    said = render_report(Report("here", tuple(findings(cluster.facts()))))
    assert "http://10.0.0.1:8333/" in said
    assert "hunter2" not in said


@pytest.mark.parametrize("plural", sorted({question.kind.plural for check in CHECKS for question in check.questions}))
def test_what_may_not_be_listed_is_unknown_and_says_why(plural: str) -> None:
    cluster = Cluster(silent={plural})
    found = findings(cluster.facts())
    assert any(item.level == "unknown" and "you may not list" in item.what for item in found)
    assert not [item for item in found if item.level == "fail"], "what is not known is not broken"


def test_an_object_of_another_form_is_unknown_and_the_other_checks_go_on() -> None:
    cluster = Cluster()
    cluster.get("CustomResourceDefinition").update(spec=[])
    found = findings(cluster.facts())
    assert [item.level for item in found if item.check == "definition"] == ["unknown"]
    assert {item.level for item in found if item.check != "definition"} == {"ok"}


def test_nothing_at_all_ends_no_check() -> None:
    found = findings(Facts())
    assert {item.check for item in found} == {check.name for check in CHECKS}


def test_on_one_machine_what_does_not_apply_is_said_once_with_its_reason() -> None:
    cluster = Cluster(version="v1.32.0+slipway", is_one_machine=True)
    found = findings(cluster.facts())
    assert [item.level for item in found if item.check == "kubernetes"] == ["ok"]
    assert [item.what for item in found if item.check == "controller"] == ["a process: `slipway status` shows it"]
    assert all(item.what for item in found)
    assert not [item for item in found if item.level in ("fail", "unknown")]


def test_the_report_counts_and_shows_a_repair_below_its_finding() -> None:
    report = Report(
        "https://x", (Finding("ok", "a", "", "fine"), Finding("fail", "bb", "n/x", "b\x1bad" * 900, "do\nit"))
    )
    text = render_report(report)
    assert text.splitlines()[0] == "https://x"
    assert "  ok       a   fine" in text
    assert "→ do it" in text
    assert "\x1b" not in text
    assert text.endswith("1 in order, 1 to be fixed")
    assert max(map(len, text.splitlines())) < MAX_SHOWN_CHARS + 40
    assert report.as_json()["counts"] == {"ok": 1, "n/a": 0, "unknown": 0, "warn": 0, "fail": 1}


def test_a_check_keeps_what_it_said_before_it_did_not_know() -> None:
    def decide(facts: Facts) -> Any:
        yield "ok", "x", "seen"
        facts.objects(CHECKS[1].questions[0])

    found = dataclasses.replace(Check("one", decide)).findings(Facts())
    assert [item.level for item in found] == ["ok", "unknown"]


def test_adoption_lists_every_object_that_would_change_and_only_those() -> None:
    cluster = Cluster()
    _replace_definition(cluster)
    changed = copy.deepcopy(cluster.get("SeldonDeployment"))
    changed["metadata"]["name"] = "changed"
    changed["spec"]["unknown"] = 1
    cluster.objects.append(changed)
    said = {item.where: item for item in ADOPTION.findings(cluster.facts())}
    assert said["team-a/changed"].level == "warn"
    assert "loses spec.unknown" in said["team-a/changed"].what
    assert "team-a/yolo" not in said
    assert said["seldondeployments.machinelearning.seldon.io"].what == "1 of 2 SeldonDeployments stay as they are"


def test_adoption_of_what_is_ours_already_changes_nothing() -> None:
    (found,) = ADOPTION.findings(Cluster().facts())
    assert found.level == "ok"


def test_gateway_pods_elsewhere_count_as_istio_selects_in_all_namespaces() -> None:
    cluster = Cluster()
    cluster.drop("Pod", "ingress-1")
    cluster.objects.append(pod("ingress-3", "gateways", {"istio": "ingressgateway", "app": "x"}))
    assert [item.level for item in of(cluster, "gateway")] == ["ok", "ok"]


@pytest.mark.parametrize("has_vault", [False, True])
def test_secret_that_a_vault_is_to_make_is_looked_for_where_it_is_made(has_vault: bool) -> None:
    cluster = Cluster()
    cluster.drop("Secret", "slipway-model-storage")
    if has_vault:
        cluster.served.add("external-secrets.io/v1")
    repair = next(item.repair for item in of(cluster, "models") if item.level == "fail")
    assert ("describe externalsecret slipway-model-storage" in repair) is has_vault
    assert "create secret generic slipway-model-storage --from-env-file=FILE" in repair
