"""Keeps the webhook's certificates in a Secret that all replicas share, and the API server's trust in step with them.

Whoever comes first writes; who was too late reads what the other wrote. A turn that has nothing to do writes nothing.
"""

from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from slipway.kube.client import Kube
from slipway.kube.errors import AlreadyExists, NotFound
from slipway.kube.kinds import SECRET, Kind
from slipway.webhook.certificates import Certificates, renewed

log = logging.getLogger(__name__)
CONFIGURATION = Kind(
    "admissionregistration.k8s.io",
    "v1",
    "validatingwebhookconfigurations",
    "ValidatingWebhookConfiguration",
    namespaced=False,
)
MANAGER = "slipway-webhook"
FIELDS = {"authorities": "ca.crt", "authority_key": "ca.key", "certificate": "tls.crt", "key": "tls.key"}
"""Of Certificates → keys of the Secret: the names of kubernetes.io/tls, and the authority's key."""
Object = dict[str, Any]


@dataclass(frozen=True)
class Trust:
    """``secret`` is (namespace, name), ``configuration`` a ValidatingWebhookConfiguration whose hooks are all ours."""

    kube: Kube
    secret: tuple[str, str]
    configuration: str
    names: Sequence[str]
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    async def turn(self) -> Certificates:
        """The certificates to show from now on; whoever calls knows that the API server trusts them.

        Raises:
            Conflict: another replica was faster: the next turn finds what it wrote.
            KubeError: the API cannot be asked, or the configuration is not there.
        """
        certificates = await self._kept()
        await self._tell(certificates.authorities)
        return certificates

    async def _kept(self) -> Certificates:
        namespace, name = self.secret
        try:
            live = await self.kube.get(SECRET, name, namespace=namespace)
        except NotFound:
            made = renewed(None, self.names, self.now())
            try:
                await self.kube.create(
                    _secret(self.secret, made), kind=SECRET, namespace=namespace, field_manager=MANAGER
                )
            except AlreadyExists:
                live = await self.kube.get(SECRET, name, namespace=namespace)
            else:
                log.info("Secret %s/%s: made, with an authority of its own", namespace, name)
                return made
        found = certificates_of(live)
        made = renewed(found, self.names, self.now())
        if made is not found:
            body = {**live, "data": _data(made)}
            await self.kube.replace(body, kind=SECRET, namespace=namespace, field_manager=MANAGER)
            log.info("Secret %s/%s: renewed", namespace, name)
        return made

    async def _tell(self, authorities: bytes) -> None:
        """Before a certificate is shown, what the API server trusts."""
        live = await self.kube.get(CONFIGURATION, self.configuration)
        bundle = base64.b64encode(authorities).decode()
        hooks = live.get("webhooks") or []
        if all(hook["clientConfig"].get("caBundle") == bundle for hook in hooks):
            return
        told = [{**hook, "clientConfig": {**hook["clientConfig"], "caBundle": bundle}} for hook in hooks]
        await self.kube.replace({**live, "webhooks": told}, kind=CONFIGURATION, field_manager=MANAGER)
        log.info("ValidatingWebhookConfiguration %s: caBundle renewed", self.configuration)


def certificates_of(secret: Object) -> Certificates | None:
    """None where one of the four is not there, or is not base64."""
    data = secret.get("data") or {}
    try:
        return Certificates(**{field: base64.b64decode(data[key], validate=True) for field, key in FIELDS.items()})
    except (KeyError, TypeError, binascii.Error):
        return None


def _secret(place: tuple[str, str], made: Certificates) -> Object:
    metadata = {"namespace": place[0], "name": place[1]}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": _data(made)}


def _data(made: Certificates) -> dict[str, str]:
    return {key: base64.b64encode(getattr(made, field)).decode() for field, key in FIELDS.items()}
