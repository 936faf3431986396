"""Flags and environment of ``seldon-core-microservice`` (the contract's section 4.1), read once."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway.contract.parameters import FALSE, TRUE, ParameterError, parse_parameters
from slipway.serving.lifecycle import Shutdown
from slipway.serving.limits import DRAIN_S, GRACE_S, MAX_CONNECTIONS, MAX_IN_FLIGHT
from slipway.serving.podinfo import annotations_file
from slipway.serving.server import POD_IP, bind_host
from slipway.serving.tracing_jaeger import TracingError
from slipway.serving.tracing_settings import TracingSettings, read_tracing

NOT_IMPLEMENTED = "NOT_IMPLEMENTED"
FILTER = "FILTER_METRICS_ACCESS_LOGS"
NODE = "seldon.node"

EPILOG = """\
examples:
  python -m slipway.microservice MyModel
  python -m slipway.microservice package.module.MyModel --http-port 9001 --grpc-port 5001
  python -m slipway.microservice MyModel --parameters '[{"name":"iou","value":"0.45","type":"FLOAT"}]'

`Mod` is class Mod of module Mod; `pkg.mod.Class` is class Class of module pkg.mod. The working folder is searched too.
"""


class SettingError(Exception):
    """A flag or a variable that makes no sense; the text names it."""


@dataclass(frozen=True)
class Identity:
    """Who this component is in its graph, as the controller's variables say."""

    unit: str
    """PREDICTIVE_UNIT_ID; empty when the component runs outside of a graph."""
    image: str
    deployment: str
    predictor: str
    predictor_version: str


@dataclass(frozen=True)
class Settings:
    """Everything that the process was told."""

    interface: str
    parameters: Mapping[str, Any]
    identity: Identity
    host: str
    pod_ip: str
    http_port: int
    grpc_port: int | None
    metrics_port: int
    metrics_path: str
    workers: int
    threads: int
    is_inline: bool
    """Whether calls run in the event loop."""
    max_in_flight: int
    max_batch: int
    max_requests: int
    max_requests_jitter: int
    log_level: str
    debug: bool
    access_log: bool
    filters_metrics_log: bool
    """Whether the access log is without the requests of Prometheus."""
    shutdown: Shutdown
    metrics_in_replies: bool
    payload_passthrough: bool
    model_metadata: str
    annotations_file: Path
    pidfile: Path | None
    tracing: TracingSettings | None


def read_settings(argv: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """Flags win over variables, except SELDON_LOG_LEVEL. Raises SettingError; argparse exits on unknown flags."""
    flags = _parser(environment).parse_args(argv)
    try:
        return _settings(flags, environment)
    except (ParameterError, TracingError) as exc:
        raise SettingError(str(exc)) from exc


def _settings(flags: argparse.Namespace, environment: Mapping[str, str]) -> Settings:
    number, grpc_workers = _number, _number("--grpc-workers", flags.grpc_workers)
    threads = max(number("--threads", flags.threads), number("--grpc-threads", flags.grpc_threads))
    threads = 1 if number("--single-threaded", flags.single_threaded) else max(1, threads)
    max_batch, max_in_flight = (
        _requests("--max-batch", flags.max_batch),
        _requests("--max-in-flight", flags.max_in_flight),
    )
    return Settings(
        interface=flags.interface_name,
        parameters=parse_parameters(_json("--parameters", flags.parameters)),
        identity=_identity(environment),
        host=bind_host(environment),
        pod_ip=environment.get(POD_IP, ""),
        http_port=_port("--http-port", flags.http_port),
        grpc_port=_port("--grpc-port", flags.grpc_port) if grpc_workers else None,
        metrics_port=_port("--metrics-port", flags.metrics_port),
        metrics_path=_path(environment.get("PREDICTIVE_UNIT_METRICS_ENDPOINT", "/metrics")),
        workers=max(1, number("--workers", flags.workers), grpc_workers),
        threads=threads,
        is_inline=_inline(flags.inline, threads=threads, max_batch=max_batch, max_in_flight=max_in_flight),
        max_in_flight=max_in_flight,
        max_batch=max_batch,
        max_requests=number("--max-requests", flags.max_requests),
        max_requests_jitter=number("--max-requests-jitter", flags.max_requests_jitter),
        log_level=_level(environment.get("SELDON_LOG_LEVEL") or flags.log_level),
        debug=_flag("SELDON_DEBUG", flags.debug),
        access_log=_flag("GUNICORN_ACCESS_LOG", flags.access_log),
        filters_metrics_log=_flag(FILTER, environment.get(FILTER) or str(not _flag("SELDON_DEBUG", flags.debug))),
        shutdown=Shutdown(_seconds("--drain", flags.drain), _seconds("--grace", flags.grace)),
        metrics_in_replies=environment.get("INCLUDE_METRICS_IN_CLIENT_RESPONSE", "true").lower() == "true",
        payload_passthrough=_flag("PAYLOAD_PASSTHROUGH", environment.get("PAYLOAD_PASSTHROUGH", "false")),
        model_metadata=environment.get("MODEL_METADATA", ""),
        annotations_file=annotations_file(environment),
        pidfile=Path(flags.pidfile) if flags.pidfile else None,
        tracing=_tracing(flags, environment),
    )


def _parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m slipway.microservice",
        description="Serve one component class over REST and gRPC.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("interface_name", metavar="CLASS", help="the component class: Mod or pkg.mod.Class")
    for flag, variable, default, text in _FLAGS:
        of_environment = environment.get(variable, default) if variable else default
        told = f"{text} (${variable}, default {default!r})" if variable else f"{text} (default {default!r})"
        optional = {"nargs": "?", "const": "true"} if flag in _SWITCHES else {}
        parser.add_argument(flag, default=of_environment, help=told.replace("%", "%%"), **optional)  # type: ignore[arg-type]
    for flag, text in _TAKEN_AND_UNUSED:
        parser.add_argument(flag, nargs="?", help=text)
    return parser


# flag, variable, default, help. Counts and sizes are checked after parsing, so that an error names its flag.
_FLAGS: tuple[tuple[str, str, str, str], ...] = (
    ("--parameters", "PREDICTIVE_UNIT_PARAMETERS", "[]", "JSON list of name, value, type"),
    ("--http-port", "PREDICTIVE_UNIT_HTTP_SERVICE_PORT", "9000", "REST port"),
    ("--grpc-port", "PREDICTIVE_UNIT_GRPC_SERVICE_PORT", "5000", "gRPC port"),
    ("--metrics-port", "PREDICTIVE_UNIT_METRICS_SERVICE_PORT", "6000", "Prometheus port"),
    ("--workers", "GUNICORN_WORKERS", "1", "processes, each with a load of its own"),
    ("--threads", "GUNICORN_THREADS", "1", "calls into the component at a time, in one process"),
    (
        "--inline",
        "SLIPWAY_INLINE",
        "false",
        "calls run in the event loop: half the time of a small call, but health waits for each; for well below a millisecond",
    ),
    ("--grpc-workers", "GRPC_WORKERS", "1", "0: no gRPC; more than --workers: as many processes"),
    ("--grpc-threads", "GRPC_THREADS", "1", "like --threads; the larger of the two counts"),
    (
        "--max-in-flight",
        "SLIPWAY_MAX_IN_FLIGHT",
        f"{MAX_IN_FLIGHT}",
        "requests that wait or compute in one process; one more is answered 429 (gRPC: RESOURCE_EXHAUSTED) at once",
    ),
    ("--max-batch", "SLIPWAY_MAX_BATCH", "1", "waiting requests that one call of predict may answer; 1: one each"),
    ("--max-requests", "GUNICORN_MAX_REQUESTS", "0", "a worker is replaced after so many requests; 0: never"),
    ("--max-requests-jitter", "GUNICORN_MAX_REQUESTS_JITTER", "0", "up to so many more, by chance"),
    ("--single-threaded", "FLASK_SINGLE_THREADED", "0", "1: one call at a time, whatever --threads says"),
    ("--log-level", "", "INFO", "log level; $SELDON_LOG_LEVEL wins"),
    ("--debug", "SELDON_DEBUG", "false", "tracebacks on start-up errors"),
    ("--access-log", "GUNICORN_ACCESS_LOG", "false", "a line for each REST request"),
    ("--tracing", "TRACING", "0", "1: send traces, as OTEL_* and JAEGER_* say; an OTLP endpoint there is a switch too"),
    ("--pidfile", "", "", "file for the process id"),
    ("--drain", "SLIPWAY_DRAIN_SECONDS", f"{DRAIN_S:g}", "seconds of not-ready but serving after SIGTERM"),
    ("--grace", "SLIPWAY_GRACE_SECONDS", f"{GRACE_S:g}", "seconds for the work under way after that"),
)
_SWITCHES = frozenset({"--debug", "--access-log", "--tracing", "--inline"})
_TAKEN_AND_UNUSED = (
    ("--service-type", "taken for compatibility; every endpoint is always served"),
    ("--persistence", "taken for compatibility; deprecated, without effect in Seldon too"),
    ("--keepalive", "taken for compatibility; connections are always kept"),
)


def _tracing(flags: argparse.Namespace, environment: Mapping[str, str]) -> TracingSettings | None:
    """Spans are of the class, as in Seldon, where the environment has no other name for them (contract §4.1)."""
    identity = _identity(environment)
    known = {"seldon.deployment": identity.deployment, "seldon.predictor": identity.predictor, NODE: identity.unit}
    resource = {key: value for key, value in known.items() if value not in ("", NOT_IMPLEMENTED)}
    asked = _flag("--tracing", flags.tracing)
    return read_tracing(environment, asked=asked, service=flags.interface_name, resource=resource)


def _identity(environment: Mapping[str, str]) -> Identity:
    labels = _json("PREDICTOR_LABELS", environment.get("PREDICTOR_LABELS") or "{}")
    version = labels.get("version") if isinstance(labels, dict) else None
    return Identity(
        unit=environment.get("PREDICTIVE_UNIT_ID", ""),
        image=environment.get("PREDICTIVE_UNIT_IMAGE", ""),
        deployment=environment.get("SELDON_DEPLOYMENT_ID", NOT_IMPLEMENTED),
        predictor=environment.get("PREDICTOR_ID", NOT_IMPLEMENTED),
        predictor_version=str(version) if version is not None else NOT_IMPLEMENTED,
    )


def _json(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as exc:
        raise SettingError(
            f"{name}: {len(text)} characters that are not JSON: {exc}"
        ) from None  # there may be secrets in it


def _number(name: str, text: str) -> int:
    if not str(text).isdecimal():
        raise SettingError(f"{name}: {text!r} is not a number of 0 or more")
    return int(text)


def _inline(text: str, *, threads: int, max_batch: int, max_in_flight: int) -> bool:
    if not _flag("--inline", text):
        return False
    if max_in_flight != MAX_IN_FLIGHT:
        raise SettingError(
            f"--inline: a call holds up the reading of others, none waits here, so --max-in-flight {max_in_flight} has no "
            f"effect: leave one"
        )
    for name, count in (("--threads", threads), ("--max-batch", max_batch)):
        if count > 1:
            raise SettingError(
                f"--inline: calls run one at a time in the event loop, so {name} {count} cannot be: leave one"
            )
    return True


def _requests(name: str, text: str) -> int:
    if not 1 <= (count := _number(name, text)) <= MAX_CONNECTIONS:
        raise SettingError(f"{name}: {text!r} is not from 1 to {MAX_CONNECTIONS}, the connections of a process")
    return count


def _port(name: str, text: str) -> int:
    if not 0 <= (port := _number(name, text)) <= 65535:
        raise SettingError(f"{name}: {text!r} is not a port from 0 (any) to 65535")
    return port


def _seconds(name: str, text: str) -> float:
    try:
        seconds = float(text)
    except ValueError as exc:
        raise SettingError(f"{name}: {text!r} is not a number of seconds") from exc
    if not 0 <= seconds <= 3600:
        raise SettingError(f"{name}: {text!r} is not between 0 and 3600 seconds")
    return seconds


def _flag(name: str, text: str) -> bool:
    word = str(text).lower()
    if word not in TRUE | FALSE:
        raise SettingError(f"{name}: {text!r} is not true or false")
    return word in TRUE


def _level(text: str) -> str:
    level = {"WARN": "WARNING", "FATAL": "CRITICAL"}.get(text.upper(), text.upper())
    if level not in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"):
        raise SettingError(f"--log-level: {text!r} is not one of DEBUG, INFO, WARNING, ERROR, CRITICAL")
    return level


def _path(text: str) -> str:
    if not text.startswith("/"):
        raise SettingError(f"PREDICTIVE_UNIT_METRICS_ENDPOINT: {text!r} does not start with /")
    return text
