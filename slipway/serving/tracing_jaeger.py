"""Jaeger's variables and its configuration file, as Seldon documents them → what they mean to a sender of OTLP.

Jaeger's own wires (Thrift over UDP and HTTP) are gone from its present releases, which take OTLP instead: hosts, names,
tags, samplers and B3 carry over, ports and paths do not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

OTLP_PORT = 4317
MAX_CONFIG_BYTES = 64 * 1024
"""A file of JAEGER_CONFIG_PATH."""

IN_EVERY_SPAN = frozenset({"method", "path", "url_rule", "endpoint"})
"""What JAEGER_EXTRA_TAGS may ask for (names of a Flask request's attributes) and every server span says anyway."""

WITHOUT_COUNTERPART = (
    "JAEGER_USER", "JAEGER_PASSWORD", "JAEGER_REPORTER_LOG_SPANS", "JAEGER_REPORTER_MAX_QUEUE_SIZE",
    "JAEGER_REPORTER_FLUSH_INTERVAL", "JAEGER_REPORTER_ATTEMPT_RECONNECTING_DISABLED", "JAEGER_SAMPLING_ENDPOINT",
    "JAEGER_SAMPLER_MANAGER_HOST_PORT", "JAEGER_SAMPLER_MAX_OPERATIONS", "JAEGER_SAMPLER_REFRESH_INTERVAL",
    "JAEGER_RPC_METRICS", "JAEGER_TRACEID_128BIT",
)  # fmt: skip
"""Variables of Jaeger's clients that have no effect here."""

_TAG_OF_VARIABLE = re.compile(r"\$\{(\w+)(?::([^}]*))?\}")


class TracingError(Exception):
    """A setting of tracing makes no sense or is not offered; the text names it."""


@dataclass(frozen=True)
class Jaeger:
    """What Jaeger's settings say; empty where they say nothing."""

    endpoint: str = ""
    sampler: str = ""
    """OpenTelemetry's name of it."""
    ratio: float = 1.0
    service: str = ""
    propagators: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    is_disabled: bool = False
    notes: tuple[str, ...] = ()


def asks_for_jaeger(environment: Mapping[str, str]) -> bool:
    """Whether a place for spans is named: Seldon's executor needs no other switch."""
    return any(environment.get(name) for name in ("JAEGER_AGENT_HOST", "JAEGER_ENDPOINT"))


def read_jaeger(environment: Mapping[str, str]) -> Jaeger:
    """Raises TracingError for a file that cannot be read and for values that make no sense."""
    notes: list[str] = []
    config = _config(environment, notes)
    endpoint = _endpoint(environment, config, notes)
    sampler, ratio = _sampler(environment, config, notes)
    tags = {
        **{str(key): str(value) for key, value in _part(config, "tags").items()},
        **_tags(environment),
        **_extra_tags(environment, notes),
    }
    if unused := [name for name in WITHOUT_COUNTERPART if environment.get(name)]:
        notes.append(f"{', '.join(unused)}: no effect here")
    disabled = environment.get("JAEGER_DISABLED", "").lower() == "true" or config.get("enabled") is False
    return Jaeger(
        endpoint=endpoint,
        sampler=sampler,
        ratio=ratio,
        service=environment.get("JAEGER_SERVICE_NAME") or str(config.get("service_name") or ""),
        propagators=_propagators(environment, config, notes),
        tags=tags,
        is_disabled=disabled,
        notes=tuple(notes),
    )


def parse_ratio(name: str, text: str) -> float:
    """A part of one; TracingError, with ``name``, for anything else."""
    try:
        ratio = float(text)
    except ValueError:
        ratio = -1.0
    if not 0 <= ratio <= 1:
        raise TracingError(f"{name}: {text[:80]!r} is not a number from 0 to 1")
    return ratio


def _config(environment: Mapping[str, str], notes: list[str]) -> dict[str, Any]:
    """The file of JAEGER_CONFIG_PATH: ``jaeger_client.Config``'s YAML."""
    name = environment.get("JAEGER_CONFIG_PATH", "")
    if not name:
        return {}
    try:
        with Path(name).open("rb") as file:
            text = file.read(MAX_CONFIG_BYTES + 1)
        config = yaml.safe_load(text) if len(text) <= MAX_CONFIG_BYTES else None
    except OSError as error:
        raise TracingError(f"JAEGER_CONFIG_PATH: {name}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise TracingError(f"JAEGER_CONFIG_PATH: {name} is not YAML: {str(error)[:200]}") from error
    if not isinstance(config, dict):
        raise TracingError(f"JAEGER_CONFIG_PATH: {name} is not a mapping (sampler, local_agent, …)")
    known = {"sampler", "local_agent", "tags", "enabled", "propagation", "service_name", "jaeger_endpoint"}
    if unused := sorted(str(key) for key in config.keys() - known):
        notes.append(f"{name}: {', '.join(unused)}: no effect here")
    return config


def _part(config: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    part = config.get(key) or {}
    if not isinstance(part, dict):
        raise TracingError(f"JAEGER_CONFIG_PATH: {key} is {part!r:.80}, not a mapping")
    return part


def _endpoint(environment: Mapping[str, str], config: Mapping[str, Any], notes: list[str]) -> str:
    """Jaeger at the same host takes OTLP on its own port."""
    collector = environment.get("JAEGER_ENDPOINT") or str(config.get("jaeger_endpoint") or "")
    agent = environment.get("JAEGER_AGENT_HOST") or str(_part(config, "local_agent").get("reporting_host") or "")
    if collector:
        try:
            parts = urlsplit(collector)
            host, scheme = parts.hostname, parts.scheme
        except ValueError:
            host, scheme = None, ""
        if not host or scheme not in ("http", "https"):
            raise TracingError("JAEGER_ENDPOINT is no address; expected e.g. http://jaeger-collector:14268/api/traces")
    elif agent:
        host, scheme = agent, "http"
    else:
        return ""
    endpoint = f"{scheme}://{f'[{host}]' if ':' in host else host}:{OTLP_PORT}"
    notes.append(
        f"{'JAEGER_ENDPOINT' if collector else 'JAEGER_AGENT_HOST'}: spans are sent as OTLP to {endpoint}, where Jaeger "
        "takes them, and not to Jaeger's old ports; OTEL_EXPORTER_OTLP_ENDPOINT names another place"
    )
    return endpoint


def _sampler(environment: Mapping[str, str], config: Mapping[str, Any], notes: list[str]) -> tuple[str, float]:
    part = _part(config, "sampler")
    kind = environment.get("JAEGER_SAMPLER_TYPE") or str(part.get("type") or "")
    value = environment.get("JAEGER_SAMPLER_PARAM") or str(part.get("param", 1))
    match kind:
        case "":
            return "", 1.0
        case "const":
            is_on = parse_ratio("JAEGER_SAMPLER_PARAM", "1" if value.lower() == "true" else value) > 0
            return ("parentbased_always_on" if is_on else "parentbased_always_off"), 1.0
        case "probabilistic":
            return "parentbased_traceidratio", parse_ratio("JAEGER_SAMPLER_PARAM", value)
        case "ratelimiting" | "remote":
            notes.append(
                f"JAEGER_SAMPLER_TYPE {kind} has no counterpart here: every trace is sent; see OTEL_TRACES_SAMPLER"
            )
            return "", 1.0
    raise TracingError(f"JAEGER_SAMPLER_TYPE: {kind[:80]!r} is not one of const, probabilistic, ratelimiting, remote")


def _propagators(environment: Mapping[str, str], config: Mapping[str, Any], notes: list[str]) -> tuple[str, ...]:
    kind = (
        environment.get("JAEGER_TRACE_PROPAGATION_TYPE")
        or environment.get("JAEGER_PROPAGATION")
        or str(config.get("propagation") or "")
    ).lower()
    if kind == "b3":
        return ("b3multi",)
    if kind not in ("", "w3c"):
        notes.append(
            f"JAEGER_TRACE_PROPAGATION_TYPE {kind[:80]}: the context travels as traceparent (W3C); b3 is the other choice"
        )
    return ()


def _tags(environment: Mapping[str, str]) -> dict[str, str]:
    """``JAEGER_TAGS``: ``key=value,key=${VARIABLE:default}``."""

    def value_of(found: re.Match[str]) -> str:
        return environment.get(found[1]) or found[2] or ""

    pairs = [pair.partition("=") for pair in environment.get("JAEGER_TAGS", "").split(",") if pair.strip()]
    if wrong := [key for key, equals, _ in pairs if not equals or not key.strip()]:
        raise TracingError(f"JAEGER_TAGS: {wrong[0][:80]!r} is not key=value")
    return {key.strip(): _TAG_OF_VARIABLE.sub(value_of, value.strip()) for key, _, value in pairs}


def _extra_tags(environment: Mapping[str, str], notes: list[str]) -> dict[str, str]:
    """``JAEGER_EXTRA_TAGS``: what of a request becomes a tag; with ``key=value`` a tag of every span."""
    found: dict[str, str] = {}
    missing: list[str] = []
    for tag in filter(None, (part.strip() for part in environment.get("JAEGER_EXTRA_TAGS", "").split(","))):
        key, equals, value = tag.partition("=")
        if equals and key.strip():
            found[key.strip()] = value.strip()
        elif tag not in IN_EVERY_SPAN:
            missing.append(tag[:80])
    if missing:
        notes.append(
            f"JAEGER_EXTRA_TAGS: {', '.join(missing)} of a request is not recorded; spans hold no payload and no headers"
        )
    return found
