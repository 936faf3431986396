"""kubernetes/webhook says what the program says, and lets it do no more than it does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from slipway.contract.controller_id import LABEL, is_looked_after
from slipway.contract.sdep import GROUP, VERSIONS
from slipway.controller.options import make_parser as controller_parser
from slipway.crd.definition import PLURAL
from slipway.webhook.options import PORT, make_parser, options_of
from slipway.webhook.server import BODY_WITHIN_S, MAX_BODY_BYTES, MAX_REVIEWS, PATH, SHUTDOWN_S
from slipway.webhook.trust import FIELDS
from tests.data import REPOSITORY
from tests.manifests.kustomizations import built

Object = dict[str, Any]
PLAIN = "kubernetes"
WITH_KEDA, WITH_CERT_MANAGER, BESIDE = (
    f"kubernetes/overlays/{name}" for name in ("keda", "cert-manager", "beside-seldon-core")
)


@cache
def rendered(folder: str) -> list[Object]:
    return built(REPOSITORY / folder)


def objects(folder: str, kind: str, name: str = "slipway-webhook") -> list[Object]:
    return [o for o in rendered(folder) if o["kind"] == kind and o["metadata"]["name"].startswith(name)]


def one(folder: str, kind: str, name: str = "slipway-webhook") -> Object:
    (found,) = objects(folder, kind, name)
    return found


def container(folder: str, name: str = "slipway-webhook") -> Object:
    (found,) = one(folder, "Deployment", name)["spec"]["template"]["spec"]["containers"]
    return found


def options(folder: str, tmp_path):
    """Of the Pod's arguments, files where they can be read here."""
    servers = tmp_path / "servers.json"
    servers.write_text(one(PLAIN, "ConfigMap", "slipway-controller-servers")["data"]["predictor-servers.json"])
    words = [word.replace("/etc/slipway/predictor-servers.json", str(servers)) for word in container(folder)["args"]]
    parser = make_parser()
    return options_of(parser, parser.parse_args(words))


@pytest.mark.parametrize("folder", [PLAIN, WITH_KEDA, WITH_CERT_MANAGER, BESIDE])
def test_a_webhook_is_told_what_its_controller_is_told(folder, tmp_path):
    said = options(folder, tmp_path).settings
    controllers = controller_parser({}).parse_args(
        [word for word in container(folder, "slipway-controller")["args"] if not word.startswith("--predictor-servers")]
    )
    assert (said.has_keda, said.controller_id) == (controllers.keda, controllers.controller_id)
    assert said.predictor_servers == options(PLAIN, tmp_path).settings.predictor_servers
    volumes = [
        {volume["name"]: volume for volume in one(folder, "Deployment", name)["spec"]["template"]["spec"]["volumes"]}
        for name in ("slipway-webhook", "slipway-controller")
    ]
    assert volumes[0]["servers"] == volumes[1]["servers"], "the same ConfigMap, by its hashed name"
    assert container(folder)["image"] == container(folder, "slipway-controller")["image"]


def test_only_the_overlays_differ_from_what_the_program_does_by_itself(tmp_path):
    assert options(PLAIN, tmp_path).settings.has_keda is False
    assert options(WITH_KEDA, tmp_path).settings.has_keda is True
    assert options(BESIDE, tmp_path).settings.controller_id == "slipway"


@pytest.mark.parametrize("folder", [PLAIN, WITH_KEDA, WITH_CERT_MANAGER, BESIDE])
def test_the_api_server_asks_where_the_program_listens(folder, tmp_path):
    said = options(folder, tmp_path)
    (port,) = container(folder)["ports"]
    assert port == {"name": "https", "containerPort": said.port}
    assert said.port == PORT
    (service_port,) = one(folder, "Service")["spec"]["ports"]
    for hook in one(folder, "ValidatingWebhookConfiguration")["webhooks"]:
        service = hook["clientConfig"]["service"]
        assert (service["path"], service["port"]) == (PATH, service_port["port"])
        assert f"{service['name']}.{service['namespace']}.svc" == said.names[0]
        assert hook["timeoutSeconds"] >= BODY_WITHIN_S
        (rule,) = hook["rules"]
        assert (rule["apiGroups"], rule["resources"]) == ([GROUP], [PLURAL])
        assert rule["apiVersions"] == list(VERSIONS)
        assert rule["operations"] == ["CREATE", "UPDATE"]


def test_names_of_the_program_are_those_that_its_rights_name(tmp_path):
    said = options(PLAIN, tmp_path)
    role, cluster = one(PLAIN, "Role"), one(PLAIN, "ClusterRole")
    assert role["rules"] == [
        {"apiGroups": [""], "resources": ["secrets"], "resourceNames": [said.secret[1]], "verbs": ["get", "update"]}
    ]
    (rule,) = cluster["rules"]
    assert (rule["resourceNames"], rule["verbs"]) == ([said.configuration], ["get", "update"])
    assert role["metadata"]["namespace"] == said.secret[0]
    assert "data" not in one(PLAIN, "Secret", said.secret[1]), "an apply would take away what the webhook wrote"
    assert one(PLAIN, "ValidatingWebhookConfiguration")["metadata"]["name"] == said.configuration
    assert "caBundle" not in str(one(PLAIN, "ValidatingWebhookConfiguration"))


def test_a_pod_is_given_the_time_to_drain(tmp_path):
    grace = one(PLAIN, "Deployment")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert grace > options(PLAIN, tmp_path).drain_s + SHUTDOWN_S


def test_memory_is_enough_for_every_review_at_once():
    limit = container(PLAIN)["resources"]["limits"]["memory"]
    assert limit.endswith("Mi")
    assert int(limit.removesuffix("Mi")) * 2**20 >= 3 * MAX_REVIEWS * MAX_BODY_BYTES


def test_without_an_answer_an_edit_goes_through_unless_a_webhook_is_required():
    policies = {
        folder: {hook["failurePolicy"] for hook in one(folder, "ValidatingWebhookConfiguration")["webhooks"]}
        for folder in (PLAIN, BESIDE, WITH_CERT_MANAGER)
    }
    assert policies == {PLAIN: {"Ignore"}, BESIDE: {"Ignore"}, WITH_CERT_MANAGER: {"Fail"}}


def selects(selector: Object, labels: dict[str, str]) -> bool:
    """Of a LabelSelector, as far as ours go."""
    wanted = selector.get("matchLabels") or {}
    absent = [each["key"] for each in selector.get("matchExpressions") or () if each["operator"] == "DoesNotExist"]
    assert len(absent) == len(selector.get("matchExpressions") or ()), "this reads no other operator"
    return wanted.items() <= labels.items() and not any(key in labels for key in absent)


@pytest.mark.parametrize("folder", [PLAIN, BESIDE])
@pytest.mark.parametrize("of_object", [None, "slipway", "seldon"])
@pytest.mark.parametrize("of_namespace", [None, "slipway", "seldon"])
def test_selectors_ask_about_all_that_the_controller_looks_after(folder, of_object, of_namespace, tmp_path):
    labels, namespace = ({LABEL: name} if name else {} for name in (of_object, of_namespace))
    hooks = one(folder, "ValidatingWebhookConfiguration")["webhooks"]
    asked = [h for h in hooks if selects(h["objectSelector"], labels) and selects(h["namespaceSelector"], namespace)]
    ours = is_looked_after(options(folder, tmp_path).settings.controller_id, labels, namespace)
    assert len(asked) <= 1, "nothing is judged twice"
    if ours:
        assert asked
    if asked and not ours:
        assert {of_object, of_namespace} == {"slipway", "seldon"}, "only what names two controllers is asked in vain"


def test_cert_manager_brings_what_the_program_reads(tmp_path):
    said = options(WITH_CERT_MANAGER, tmp_path)
    (certificate,) = (o for o in objects(WITH_CERT_MANAGER, "Certificate") if not o["spec"].get("isCA"))
    assert tuple(certificate["spec"]["dnsNames"]) == said.names
    spec = one(WITH_CERT_MANAGER, "Deployment")["spec"]["template"]["spec"]
    (volume,) = (each for each in spec["volumes"] if each.get("secret"))
    assert volume["secret"]["secretName"] == certificate["spec"]["secretName"]
    (mount,) = (each for each in container(WITH_CERT_MANAGER)["volumeMounts"] if each["name"] == volume["name"])
    assert mount["mountPath"] == str(said.certificate_folder)
    inject = one(WITH_CERT_MANAGER, "ValidatingWebhookConfiguration")["metadata"]["annotations"]
    assert inject == {"cert-manager.io/inject-ca-from": f"slipway-system/{certificate['metadata']['name']}"}


def test_with_cert_manager_the_webhook_has_no_rights():
    for kind in ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "Secret"):
        assert objects(WITH_CERT_MANAGER, kind) == [], kind
    assert one(WITH_CERT_MANAGER, "Deployment")["spec"]["template"]["spec"]["automountServiceAccountToken"] is False


def test_the_certificates_issuer_is_the_authority_that_the_api_server_trusts():
    issuers = {o["metadata"]["name"]: o["spec"] for o in objects(WITH_CERT_MANAGER, "Issuer")}
    certificates = {o["metadata"]["name"]: o["spec"] for o in objects(WITH_CERT_MANAGER, "Certificate")}
    issuer = issuers[certificates["slipway-webhook"]["issuerRef"]["name"]]
    assert issuer == {"ca": {"secretName": certificates["slipway-webhook-authority"]["secretName"]}}
    assert set(FIELDS.values()) >= {"tls.crt", "tls.key"}, "files of cert-manager's Secrets have the same names"


def test_seldon_cores_definition_stays_where_it_runs():
    assert objects(BESIDE, "CustomResourceDefinition", "") == []
    assert objects(PLAIN, "CustomResourceDefinition", "") != []


def test_one_tag_for_the_image():
    tags = {
        path: yaml.safe_load((REPOSITORY / path / "kustomization.yaml").read_text())["images"]
        for path in ("kubernetes/webhook", "kubernetes/controller")
    }
    assert tags["kubernetes/webhook"] == tags["kubernetes/controller"]


def test_cert_manager_s_authority_keeps_its_key_so_that_the_ca_bundle_of_either_day_trusts_the_certificate():
    """Pods hear of a renewed Secret minutes after caBundle has: what is shown meanwhile was signed before."""
    keys = {item["metadata"]["name"]: item["spec"]["privateKey"] for item in objects(WITH_CERT_MANAGER, "Certificate")}
    assert keys["slipway-webhook-authority"]["rotationPolicy"] == "Never"
    assert keys["slipway-webhook"]["rotationPolicy"] == "Always"
    key = ec.generate_private_key(ec.SECP256R1())
    older, newer = (authority(key, day) for day in (0, 700))
    shown = signed(key, older.subject, "slipway-webhook", ec.generate_private_key(ec.SECP256R1()), 600, is_ca=False)
    for each in (older, newer):
        shown.verify_directly_issued_by(each)


def authority(key: ec.EllipticCurvePrivateKey, day: int) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "slipway-webhook authority")])
    return signed(key, name, "slipway-webhook authority", key, day, is_ca=True)


def signed(
    by: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    name: str,
    key: ec.EllipticCurvePrivateKey,
    day: int,
    *,
    is_ca: bool,
) -> x509.Certificate:
    begins = datetime(2026, 11, 22, tzinfo=UTC) + timedelta(days=day)
    builder = x509.CertificateBuilder(
        issuer,
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]),
        key.public_key(),
        x509.random_serial_number(),
        begins,
        begins + timedelta(days=90),
    )
    return builder.add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True).sign(
        by, hashes.SHA256()
    )
