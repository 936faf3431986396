"""Follows the API and keeps Envoy's files equal to it."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from dataclasses import replace
from importlib.resources import files
from ipaddress import IPv4Network
from pathlib import Path

from slipway.kube.client import Kube
from slipway.kube.kinds import (
    AUTHORIZATION_POLICY,
    DEPLOYMENT,
    DESTINATION_RULE,
    ENDPOINT_SLICE,
    GATEWAY,
    POD,
    REQUEST_AUTHENTICATION,
    SCALED_OBJECT,
    SECRET,
    SERVICE,
    VIRTUAL_SERVICE,
    Kind,
)
from slipway.kube.malformed import MALFORMED
from slipway.kube.reflector import Reflector
from slipway.onebox.mesh.findings import Findings, report
from slipway.onebox.mesh.ir import Finding
from slipway.onebox.mesh.layout import Layout
from slipway.onebox.mesh.limits import ACCESS_LOG_CHECK_S, CHECK_S, LISTEN_S, SETTLE_S, TICK_S
from slipway.onebox.mesh.refusals import Refusals
from slipway.onebox.mesh.render import render
from slipway.onebox.mesh.scrape_targets import pod_groups
from slipway.onebox.mesh.steps import lacks_routes
from slipway.onebox.mesh.translate import Object, Objects, Site
from slipway.onebox.mesh.unreadable import translate_readable
from slipway.onebox.mesh.write import Publisher, prepare, write_targets
from slipway.onebox.paths import Paths

log = logging.getLogger(__name__)
KINDS = (
    VIRTUAL_SERVICE,
    DESTINATION_RULE,
    GATEWAY,
    SERVICE,
    ENDPOINT_SLICE,
    POD,
    DEPLOYMENT,
    SCALED_OBJECT,
    REQUEST_AUTHENTICATION,
    AUTHORIZATION_POLICY,
    SECRET,
)
_AUTHORITIES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
)
"""Where Debian, Fedora and Alpine (and macOS) keep them."""
_LOWEST_PORT = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")


def site(address: str, port: int) -> Site:
    """What this machine adds to the API's objects."""
    lowest = 1 if os.geteuid() == 0 else int(_LOWEST_PORT.read_text())
    page = str(files("slipway.onebox.mesh") / "page" / "index.html")
    return Site(address, port, page, lowest, trusted_authorities=_trusted_authorities())


def _trusted_authorities() -> str:
    places = (os.environ.get("SSL_CERT_FILE", ""), *_AUTHORITIES)
    return next((place for place in places if place and Path(place).is_file()), "")


async def run(kube: Kube, paths: Paths, here: Site, network: IPv4Network | None = None) -> None:
    """Until cancelled. The files of the last run are replaced only when the whole state has been read.

    ``network``: the home's; with it, the Envoys show their metrics.
    """
    layout = Layout(paths)
    here = replace(here, activator_sockets=layout.activator_sockets)
    prepare(layout, network)
    publisher = Publisher(layout)
    async with Reflector(kube, KINDS) as reflector, asyncio.TaskGroup() as tasks:
        await reflector.wait_synced()
        findings = Findings()
        tasks.create_task(_rotate(publisher))
        tasks.create_task(_listen(publisher))
        tasks.create_task(_report(reflector, kube, findings))
        await _follow(reflector, publisher, findings, here=here, layout=layout)


async def _report(reflector: Reflector, kube: Kube, findings: Findings) -> None:
    """A task of its own: an API that is slow to take events must not keep endpoints from the Envoys."""
    while True:
        await report(kube, findings.due(time.monotonic()), reflector.objects)
        await asyncio.sleep(TICK_S)


async def _follow(
    reflector: Reflector, publisher: Publisher, findings: Findings, *, here: Site, layout: Layout
) -> None:
    """Survives any object and a full disk: what was published stays where one cannot be read or written.

    Of objects that is where leaving one out does not help; files are tried again.
    """
    refusals = Refusals(layout, here)
    changed, checked = True, 0.0
    while True:
        is_unwritten = False
        try:
            if changed:
                objects = _objects(reflector)
                write_targets(layout.pod_targets, pod_groups(objects.pods))
                found = await _publish(objects, publisher, refusals, here=here, layout=layout)
                findings.update(found, time.monotonic())
            elif time.monotonic() - checked > CHECK_S:
                checked = time.monotonic()
                if await _has_refused(reflector, publisher, refusals, here):
                    changed = True
                    continue
        except MALFORMED:
            log.exception("the objects cannot be translated: what was published before stays in use")
        except OSError as exc:
            log.error("%s: what was published before stays in use; it is tried again in %g s", exc, TICK_S)  # noqa: TRY400  - the text says it all
            is_unwritten = True
        changed = await _changed(reflector) or is_unwritten


async def _has_refused(reflector: Reflector, publisher: Publisher, refusals: Refusals, here: Site) -> bool:
    """Whether an Envoy that came meanwhile lacks routes, and VirtualServices were found that it refuses."""
    if not lacks_routes(await publisher.missing()):
        return False
    objects, _ = translate_readable(refusals.settle(_objects(reflector))[0], here)
    return await refusals.search(objects)


async def _publish(
    objects: Objects, publisher: Publisher, refusals: Refusals, *, here: Site, layout: Layout
) -> tuple[Finding, ...]:
    """Publishes, again without what Envoy refuses, and says what cannot be honoured."""
    while True:
        settled, refused = refusals.settle(objects)
        settled, mesh = translate_readable(settled, here)
        missing = await publisher.publish(render(mesh, layout))
        if not lacks_routes(missing):
            if publisher.is_routed:
                refusals.accept(settled)
            return (*mesh.findings, *refused)
        if not await refusals.search(settled):
            return (*mesh.findings, *refused)


async def _changed(reflector: Reflector) -> bool:
    """Whether anything changed within a tick; then a moment more, so that one apply is one change."""
    try:
        async with asyncio.timeout(TICK_S):  # wait_for swallows a cancellation that meets a change (Python 3.11)
            await reflector.changed()
    except TimeoutError:
        return False
    await asyncio.sleep(SETTLE_S)
    return True


def _objects(reflector: Reflector) -> Objects:
    def all_of(kind: Kind) -> tuple[Object, ...]:
        return tuple(reflector.objects(kind).values())

    return Objects(
        virtual_services=all_of(VIRTUAL_SERVICE),
        destination_rules=all_of(DESTINATION_RULE),
        gateways=all_of(GATEWAY),
        services=all_of(SERVICE),
        endpoint_slices=all_of(ENDPOINT_SLICE),
        pods=all_of(POD),
        deployments=all_of(DEPLOYMENT),
        scaled_objects=all_of(SCALED_OBJECT),
        request_authentications=all_of(REQUEST_AUTHENTICATION),
        authorization_policies=all_of(AUTHORIZATION_POLICY),
        secrets=all_of(SECRET),
    )


async def _rotate(publisher: Publisher) -> None:
    while True:
        try:
            await publisher.rotate_access_logs()
        except OSError as exc:  # a log that somebody has moved meanwhile, for example
            log.warning("access logs are not rotated: %s; again in %g s", exc, ACCESS_LOG_CHECK_S)
        await asyncio.sleep(ACCESS_LOG_CHECK_S)


async def _listen(publisher: Publisher) -> None:
    while True:
        await publisher.listen()
        await asyncio.sleep(LISTEN_S)
