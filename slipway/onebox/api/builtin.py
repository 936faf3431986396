"""The table of built-in kinds: one row each."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

from slipway.onebox.api import (
    autoscaler_columns,
    autoscaler_rules,
    autoscaling,
    columns,
    crds,
    role_rules,
    rules,
    service_rules,
    workload_rules,
)
from slipway.onebox.api.resources import VERBS, Catalog, Resource, Scale, Version
from slipway.onebox.api.types import load_types

Object = dict[str, Any]
RBAC = "rbac.authorization.k8s.io"
EVENT_FIELDS = {  # core/v1 → events.k8s.io/v1
    "involvedObject": "regarding",
    "message": "note",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
    "reportingComponent": "reportingController",
}
INVOLVED = tuple(
    f"involvedObject.{name}"
    for name in ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
)
REGARDING = tuple(name.replace("involvedObject", "regarding") for name in INVOLVED)


def _renamed(names: dict[str, str], obj: Object) -> Object:
    return {names.get(key, key): value for key, value in obj.items()}


def _v(name: str, kind: str, cells: tuple[columns.Column, ...] = columns.DEFAULT, **more: Any) -> tuple[Version, ...]:
    return (Version(name, load_types()[kind], cells, **more),)


def builtin_rows(authority: str) -> list[Resource]:
    """Every kind that exists without a CRD."""
    workload: dict[str, Any] = {"has_status": True, "has_generation": True, "scale": Scale(), "categories": ("all",)}
    to_v1 = functools.partial(_renamed, EVENT_FIELDS)
    from_v1 = functools.partial(_renamed, {new: old for old, new in EVENT_FIELDS.items()})
    rows = [
        Resource("", "namespaces", "Namespace", _v("v1", "Namespace", columns.NAMESPACE), False, short_names=("ns",), has_status=True, subresources=("finalize",), verbs=tuple(verb for verb in VERBS if verb != "deletecollection"), name_rule="label", default=rules.default_namespace, prepare=rules.prepare_namespace, selectable=("status.phase",)),
        Resource("", "configmaps", "ConfigMap", _v("v1", "ConfigMap", columns.CONFIG_MAP), short_names=("cm",), check=rules.check_config_map),
        Resource("", "secrets", "Secret", _v("v1", "Secret", columns.SECRET), default=rules.default_secret, prepare=functools.partial(rules.prepare_secret, authority=authority), check=rules.check_secret, selectable=("type",)),
        Resource("", "services", "Service", _v("v1", "Service", columns.SERVICE), short_names=("svc",), categories=("all",), has_status=True, name_rule="service", default=service_rules.default_service, check=service_rules.check_service, selectable=("spec.clusterIP", "spec.type")),
        Resource("", "serviceaccounts", "ServiceAccount", _v("v1", "ServiceAccount", columns.SERVICE_ACCOUNT), short_names=("sa",), subresources=("token",)),
        Resource("", "pods", "Pod", _v("v1", "Pod", columns.POD), short_names=("po",), categories=("all",), has_status=True, subresources=("log", "eviction", "binding", "exec", "attach", "portforward"), default=rules.default_pod, prepare=rules.prepare_pod, check=rules.check_pod, selectable=("spec.nodeName", "spec.restartPolicy", "spec.serviceAccountName", "status.phase", "status.podIP")),
        Resource("", "events", "Event", _v("v1", "Event", columns.EVENT), short_names=("ev",), check=rules.check_event, selectable=(*INVOLVED, "reason", "reportingComponent", "source", "type")),
        Resource("events.k8s.io", "events", "Event", _v("v1", "EventV1", columns.EVENT, load=from_v1, dump=to_v1), short_names=("ev",), check=rules.check_event, selectable=(*REGARDING, "reason", "reportingController", "type"), stored_as="events"),
        Resource("", "nodes", "Node", _v("v1", "Node", columns.NODE), False, short_names=("no",), has_status=True, selectable=("spec.unschedulable",)),
        Resource("", "endpoints", "Endpoints", _v("v1", "Endpoints"), short_names=("ep",)),
        Resource("", "persistentvolumeclaims", "PersistentVolumeClaim", _v("v1", "PersistentVolumeClaim", columns.CLAIM), short_names=("pvc",), has_status=True),
        Resource("discovery.k8s.io", "endpointslices", "EndpointSlice", _v("v1", "EndpointSlice", columns.ENDPOINT_SLICE), has_generation=True),
        Resource("apps", "deployments", "Deployment", _v("v1", "Deployment", columns.DEPLOYMENT), short_names=("deploy",), default=rules.default_deployment, check=workload_rules.check_deployment, **workload),
        Resource("apps", "replicasets", "ReplicaSet", _v("v1", "ReplicaSet", columns.REPLICA_SET), short_names=("rs",), default=rules.default_replica_set, check=workload_rules.check_replica_set, selectable=("status.replicas",), **workload),
        Resource("batch", "jobs", "Job", _v("v1", "Job", columns.JOB), categories=("all",), has_status=True, has_generation=True, default=rules.default_job, prepare=rules.prepare_job, check=workload_rules.check_job, selectable=("status.successful",)),
        Resource("autoscaling", "horizontalpodautoscalers", "HorizontalPodAutoscaler", (*_v("v2", "HorizontalPodAutoscaler", autoscaler_columns.HPA), *_v("v1", "HorizontalPodAutoscalerV1", autoscaler_columns.HPA, load=autoscaling.from_v1, dump=autoscaling.to_v1)), short_names=("hpa",), categories=("all",), has_status=True, default=autoscaler_rules.default_autoscaler, check=autoscaler_rules.check_autoscaler),
        Resource("policy", "poddisruptionbudgets", "PodDisruptionBudget", _v("v1", "PodDisruptionBudget", autoscaler_columns.PDB), short_names=("pdb",), has_status=True, has_generation=True, check=rules.check_budget),
        Resource("coordination.k8s.io", "leases", "Lease", _v("v1", "Lease", columns.LEASE), needs_version=True, check=rules.check_lease),
        Resource(RBAC, "roles", "Role", _v("v1", "Role", columns.ROLE), name_rule="path", check=role_rules.check_role),
        Resource(RBAC, "rolebindings", "RoleBinding", _v("v1", "RoleBinding", columns.ROLE_BINDING), name_rule="path", check=role_rules.check_binding),
        Resource(RBAC, "clusterroles", "ClusterRole", _v("v1", "ClusterRole", columns.ROLE), False, name_rule="path", check=role_rules.check_role),
        Resource(RBAC, "clusterrolebindings", "ClusterRoleBinding", _v("v1", "RoleBinding", columns.ROLE_BINDING), False, name_rule="path", check=role_rules.check_binding),
        Resource("authorization.k8s.io", "selfsubjectaccessreviews", "SelfSubjectAccessReview", _v("v1", "SelfSubjectAccessReview"), False, verbs=("create",)),
        Resource("authorization.k8s.io", "selfsubjectrulesreviews", "SelfSubjectRulesReview", _v("v1", "SelfSubjectRulesReview"), False, verbs=("create",)),
        Resource("authentication.k8s.io", "selfsubjectreviews", "SelfSubjectReview", _v("v1", "SelfSubjectReview"), False, verbs=("create",)),
        Resource("apiextensions.k8s.io", "customresourcedefinitions", "CustomResourceDefinition", _v("v1", "CustomResourceDefinition", columns.ROLE), False, short_names=("crd", "crds"), categories=("api-extensions",), has_status=True, has_generation=True, default=crds.default_crd),
    ]  # fmt: skip
    taken = frozenset(row.group for row in rows)
    return [*rows[:-1], dataclasses.replace(rows[-1], check=functools.partial(crds.check_crd, taken=taken))]


def load_catalog(*, authority: str = "") -> Catalog:
    """``authority``: the certificate that a service account's Secret names as the API's, in PEM."""
    catalog = Catalog()
    for row in builtin_rows(authority):
        catalog.register(row)
    return catalog
