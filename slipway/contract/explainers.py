"""A predictor's explainer: a server of its own that asks the predictor and says why it answers so (contract 1.2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from slipway.contract.causes import Cause
from slipway.contract.fields import Fields, read_object
from slipway.contract.graph import Endpoint
from slipway.contract.security_context import check_security

FIRST_HTTP_PORT, FIRST_GRPC_PORT = 9000, 9500
NOT_OFFERED_IN = frozenset({"v2", "kfserving"})
"""Protocols whose explainers are MLServer's own, told by other means than arguments."""


@dataclass(frozen=True)
class Explainer:
    """Absent where ``type`` is empty. ``container`` may have any field of a container; its name is optional."""

    type: str
    container: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, str] = field(default_factory=dict)
    endpoint: Endpoint = field(default_factory=Endpoint)
    model_uri: str = ""
    service_account_name: str = ""
    env_secret_ref_name: str = ""
    storage_initializer_image: str = ""
    init_parameters: str = ""
    replicas: int | None = None
    given: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, fields: Fields | None) -> Explainer | None:
        """Raises FieldError."""
        if fields is None:
            return None
        container = fields.child("containerSpec")
        if container is not None:
            _check_container(container)
        endpoint = fields.child("endpoint")
        found = cls(
            type=fields.text("type"),
            container=fields.mapping("containerSpec") or {},
            config=fields.texts("config"),
            endpoint=Endpoint.read(endpoint) if endpoint is not None else Endpoint(),
            model_uri=fields.text("modelUri"),
            service_account_name=fields.text("serviceAccountName"),
            env_secret_ref_name=fields.text("envSecretRefName"),
            storage_initializer_image=fields.text("storageInitializerImage"),
            init_parameters=fields.text("initParameters"),
            replicas=fields.whole("replicas"),
            given=dict(fields.values),
        )
        return found if found.type else None

    @property
    def http_port(self) -> int:
        return self.endpoint.service_port or self.endpoint.http_port or FIRST_HTTP_PORT

    @property
    def grpc_port(self) -> int:
        return self.endpoint.grpc_port or FIRST_GRPC_PORT


def _check_container(container: Fields) -> None:
    container.text("name")
    container.text("image")
    for part in ("ports", "volumeMounts"):
        container.items(part, read_object)
    for item in container.items("env", Fields.of):
        item.required_text("name")
    check_security(container)


def explainer_refusals(explainer: Explainer, protocol: str, path: str) -> Iterator[Cause]:
    """What of it is not carried out."""
    if not explainer.container.get("image"):
        text = (
            "no image of an explainer comes along (Alibi's licence is no open one any more): say containerSpec.image. "
            "Explainers without one are not offered"
        )
        yield Cause(f"{path}.containerSpec.image", text)
    if protocol in NOT_OFFERED_IN:
        yield Cause(path, f"explainers in protocol {protocol} are not offered: they are MLServer's own")
    if explainer.init_parameters:
        yield Cause(f"{path}.initParameters", "not offered: say config, or containerSpec.env")
    if explainer.model_uri.startswith("models:"):
        text = "aliases and versions of the registry are not offered for explainers: say where it is, as in s3://…"
        yield Cause(f"{path}.modelUri", text)
