"""AdmissionReviews as kube-apiserver sends them (admission.k8s.io/v1; Kubernetes' page "Dynamic Admission Control", "Request")."""

from __future__ import annotations

from typing import Any

from tests.contract.manifests import Manifest

UID = "705ab4f5-6393-11e8-b7cc-42010a800002"


def review_of(new: Manifest | None, *, operation: str = "CREATE", old: Manifest | None = None, **more: Any) -> Manifest:
    kind = {"group": "machinelearning.seldon.io", "version": "v1", "kind": "SeldonDeployment"}
    resource = {"group": "machinelearning.seldon.io", "version": "v1", "resource": "seldondeployments"}
    found = (new or old or {}).get("metadata")
    named = found if isinstance(found, dict) else {}
    return {
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": UID,
            "kind": kind,
            "resource": resource,
            "requestKind": kind,
            "requestResource": resource,
            "name": named.get("name", ""),
            "namespace": named.get("namespace", ""),
            "operation": operation,
            "userInfo": {"username": "ada", "groups": ["system:authenticated"]},
            "object": new,
            "oldObject": old,
            "dryRun": False,
            "options": {
                "kind": "CreateOptions",
                "apiVersion": "meta.k8s.io/v1",
                "fieldManager": "kubectl-client-side-apply",
            },
            **more,
        },
    }
