"""Where models come from: the Secret with its keys, MLflow and S3 behind it, and volumes."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from slipway.doctor.check import Check, Said
from slipway.doctor.checks.mesh import NAMESPACES
from slipway.doctor.checks.workloads import OF_SERVICE, ready_endpoints
from slipway.doctor.facts import Facts, NotKnown, Object, Unanswered
from slipway.doctor.question import SYSTEM, Probe, Question
from slipway.kube.kinds import ENDPOINT_SLICE, SECRET, Kind
from slipway.tracking.placeholder import PLACEHOLDER

STORAGE_CLASS = Kind("storage.k8s.io", "v1", "storageclasses", "StorageClass", namespaced=False)
CLASSES = Question(STORAGE_CLASS)
IS_DEFAULT = "storageclass.kubernetes.io/is-default-class"
NAME = "slipway-model-storage"
THE_SECRET = Question(SECRET, SYSTEM, NAME)
REGISTRY_KEYS = ("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
S3_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION")
EXTERNAL_SECRETS = "external-secrets.io/v1"
SERVER_ERROR = 500
HEALTHY = frozenset({200})
"""Of MLflow's ``/health``, which asks nobody who he is; anything else there is not MLflow, or not its root."""
OF_S3 = frozenset({200, 401, 403})
"""What a store answers to whoever shows no credentials; a redirect or a 404 is as often the answer of something else."""
SHORT = 2
"""Labels of ``service.namespace``, which Pods resolve as well."""
MLFLOW, S3 = "MLflow", "S3"
ADDRESSES = ((MLFLOW, "MLFLOW_TRACKING_URI", "/health"), (S3, "AWS_ENDPOINT_URL", "/"))


def classes(facts: Facts) -> Iterable[Said]:
    found = facts.objects(CLASSES)
    defaults = sorted(obj["metadata"]["name"] for obj in found if _is_default(obj))
    names = ", ".join(sorted(obj["metadata"]["name"] for obj in found))
    mark = f"kubectl annotate storageclass NAME {IS_DEFAULT}=true"
    if len(defaults) == 1:
        yield "ok", defaults[0], "the default StorageClass"
    elif not found:
        yield (
            "warn",
            "",
            "no StorageClass: claims of PostgreSQL, S3 and notebooks wait for ever",
            "install a provisioner",
        )
    elif not defaults:
        yield "warn", names, "none of them is the default: claims that name none wait for ever", mark
    else:
        yield (
            "warn",
            ", ".join(defaults),
            "more than one default StorageClass: the newest is taken",
            mark.replace("=true", "-"),
        )


def _is_default(obj: Object) -> bool:
    return (obj["metadata"].get("annotations") or {}).get(IS_DEFAULT) == "true"


def secret(facts: Facts) -> Iterable[Said]:
    found = facts.one(THE_SECRET)
    where = f"{SYSTEM}/{NAME}"
    if found is None:
        text = "not there: models:/ and s3:// URIs of models cannot be fetched, public ones can"
        yield "fail", where, text, _made(facts)
        return
    values = _values(found)
    missing = [key for key in (*REGISTRY_KEYS, *S3_KEYS) if not values.get(key)]
    open_ones = sorted(key for key, value in values.items() if PLACEHOLDER in value)
    if open_ones:
        yield (
            "fail",
            where,
            f"{', '.join(open_ones)} still says {PLACEHOLDER}",
            f"kubectl -n {SYSTEM} edit secret {NAME}",
        )
    if missing:
        yield "fail", where, f"has no {', '.join(missing)}", f"kubectl -n {SYSTEM} edit secret {NAME}"
    elif not open_ones:
        yield "ok", where, f"has its {len(REGISTRY_KEYS) + len(S3_KEYS)} keys"


def _made(facts: Facts) -> str:
    """How the Secret comes to be there."""
    if facts.is_one_machine:
        return "slipway up"
    make = f"kubectl -n {SYSTEM} create secret generic {NAME} --from-env-file=FILE"
    if facts.serves(EXTERNAL_SECRETS):
        return f"kubectl -n {SYSTEM} describe externalsecret {NAME}, if a vault is to make it; else {make}"
    return make


def answers(facts: Facts) -> Iterable[Said]:
    """What the cluster alone reaches is judged by the Pods behind it; anything else was asked."""
    for name, url in _addresses(facts):
        slices = _slices(url, facts)
        yield _behind(facts, slices, f"{name} at {url}") if slices else _answered(facts, Probe(name, url))


def _behind(facts: Facts, slices: Question, said: str) -> Said:
    try:
        count = ready_endpoints(facts.objects(slices))
    except NotKnown as why:
        return "unknown", "", f"{said}: {why} (its EndpointSlices)"
    if count:
        return "ok", "", f"{said} has {count} ready Pod{'' if count == 1 else 's'} behind its Service; it was not asked"
    return "fail", "", f"{said}: no ready Pod behind its Service", f"kubectl -n {slices.namespace} get pods"


def _answered(facts: Facts, probe: Probe) -> Said:
    status = facts.statuses.get(probe, Unanswered("it was not asked"))
    said = f"{probe.name} at {probe.url}"
    if isinstance(status, Unanswered):
        return "unknown", "", f"{said}: {status.why} (from this machine)"
    answered = f"{said} answers {status} without credentials (from this machine)"
    if status in (HEALTHY if probe.name == MLFLOW else OF_S3):
        return "ok", "", answered
    edit = f"`slipway status`, if it is one of this machine; else kubectl -n {SYSTEM} edit secret {NAME}"
    if probe.name == MLFLOW:
        return "fail", "", f"{answered}, MLflow itself 200", edit
    if status >= SERVER_ERROR:
        return "fail", "", answered, edit
    return "warn", "", f"{answered}, a store of S3 {', '.join(map(str, sorted(OF_S3)))}: is this its address?", edit


def probes(facts: Facts) -> tuple[Probe, ...]:
    """What the Secret names and this machine may reach. Raises NotKnown."""
    return tuple(Probe(name, url) for name, url in _addresses(facts) if not _slices(url, facts))


def services(facts: Facts) -> tuple[Question, ...]:
    """EndpointSlices of the Services that the Secret names. Raises NotKnown."""
    return tuple(slices for _, url in _addresses(facts) if (slices := _slices(url, facts)))


def _addresses(facts: Facts) -> Iterable[tuple[str, str]]:
    """(name, URL without credentials)."""
    found = facts.one(THE_SECRET)
    values = _values(found) if found else {}
    for name, key, path in ADDRESSES:
        if address := values.get(key):
            parts = urlsplit(address)
            yield name, f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}{path}"


def _slices(url: str, facts: Facts) -> Question | None:
    """Of ``http://mlflow.slipway-system.svc:5000`` and ``seaweedfs-s3.seaweedfs``, which only the cluster resolves.

    A policy may let nobody but its users in, so that even the API's proxy could not ask what is in order.
    """
    labels = (urlsplit(url).hostname or "").split(".")
    is_short = len(labels) == SHORT and labels[1] in _namespaces(facts)
    if labels[2:3] != ["svc"] and not is_short:
        return None
    return Question(ENDPOINT_SLICE, labels[1], selector=f"{OF_SERVICE}={labels[0]}")


def _namespaces(facts: Facts) -> frozenset[str]:
    """Whoever may not list them knows ours."""
    try:
        return frozenset(obj["metadata"]["name"] for obj in facts.objects(NAMESPACES))
    except NotKnown:
        return frozenset({SYSTEM})


def _values(obj: Object) -> Mapping[str, str]:
    return {key: _decoded(value) for key, value in (obj.get("data") or {}).items()}


def _decoded(value: str) -> str:
    try:
        return base64.b64decode(value).decode().strip()
    except (binascii.Error, UnicodeDecodeError):
        return ""


CHECKS = (
    Check("storage", classes, (CLASSES,), instead="volumes are folders of SLIPWAY_HOME"),
    Check("models", secret, (THE_SECRET,)),
    Check("models", answers, (THE_SECRET, NAMESPACES)),
)
