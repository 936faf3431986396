"""Probes and lifecycle hooks of a container: what Kubernetes refuses of them (pkg/apis/core/validation)."""

from __future__ import annotations

from collections.abc import Iterator

from slipway.contract.causes import Cause
from slipway.contract.field_causes import NOT_BELOW_ZERO, forbidden, invalid, required, unsupported
from slipway.contract.fields import Fields, read_text
from slipway.contract.port_rules import port_number, port_reference

PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
PROBE_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")
HOOK_HANDLERS = ("exec", "httpGet", "tcpSocket", "sleep")
SCHEMES = ("HTTP", "HTTPS")
TIMES = ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold")


def probe_causes(container: Fields, *, is_init: bool) -> Iterator[Cause]:
    """``is_init``: one that ends before the others begin; it can have none. Raises FieldError."""
    hooks = container.child("lifecycle")
    if is_init:
        for name in (*PROBES, "lifecycle"):
            if container.child(name) is not None:
                yield forbidden(container.at(name), "may not be set for init containers without restartPolicy=Always")
        return
    for name in PROBES:
        if (probe := container.child(name)) is not None:
            yield from _probe(name, probe)
    for name in ("postStart", "preStop"):
        if hooks is not None and (hook := hooks.child(name)) is not None:
            yield from _handler(hook, HOOK_HANDLERS)


def _probe(name: str, probe: Fields) -> Iterator[Cause]:
    yield from _handler(probe, PROBE_HANDLERS)
    for field in TIMES:
        if (value := probe.whole(field) or 0) < 0:
            yield invalid(probe.at(field), value, NOT_BELOW_ZERO)
    successes, grace_s = probe.whole("successThreshold") or 1, probe.whole("terminationGracePeriodSeconds")
    if name != "readinessProbe" and successes != 1:
        yield invalid(probe.at("successThreshold"), successes, "must be 1")
    if grace_s is not None and name == "readinessProbe":
        path = probe.at("terminationGracePeriodSeconds")
        yield invalid(path, grace_s, "must not be set for readinessProbes")
    elif grace_s is not None and grace_s < 1:
        yield invalid(probe.at("terminationGracePeriodSeconds"), grace_s, "must be greater than 0")


def _handler(fields: Fields, known: tuple[str, ...]) -> Iterator[Cause]:
    given = [name for name in known if fields.child(name) is not None]
    if not given:
        yield required(fields.path, "must specify a handler type")
    for name in given[1:]:
        yield forbidden(fields.at(name), "may not specify more than 1 handler type")
    for name in given[:1]:
        if (action := fields.child(name)) is not None:
            yield from _action(name, action)


def _action(name: str, action: Fields) -> Iterator[Cause]:
    match name:
        case "exec":
            if not action.items("command", read_text):
                yield required(action.at("command"))
        case "httpGet" | "tcpSocket":
            yield from port_reference(action.values.get("port"), action.at("port"))
            if name == "httpGet" and (scheme := action.text("scheme") or "HTTP") not in SCHEMES:
                yield unsupported(action.at("scheme"), scheme, SCHEMES)
        case "grpc":
            yield from port_number(action.whole("port") or 0, action.at("port"))
