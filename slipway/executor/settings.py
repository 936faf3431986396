"""Flags and environment → one frozen value, read once at start (contract §2.4, §3.12)."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from slipway.contract.limits import MAX_PORT
from slipway.contract.loggers import KAFKA_BROKER, NO_KAFKA
from slipway.executor.errors import SettingError
from slipway.executor.limits import (
    LOG_ENTRIES,
    LOG_WAIT_MS,
    LOG_WORKERS,
    MAX_LOG_ENTRIES,
    MAX_LOG_WAIT_MS,
    MAX_LOG_WORKERS,
)
from slipway.serving.lifecycle import Shutdown
from slipway.serving.limits import DRAIN_S, GRACE_S, MAX_IN_FLIGHT
from slipway.serving.podinfo import annotations_file
from slipway.serving.server import POD_IP, bind_host
from slipway.serving.tracing_jaeger import TracingError, asks_for_jaeger
from slipway.serving.tracing_settings import TracingSettings, read_tracing

MAX_SHUTDOWN_S = 3600.0
HOSTS = "SLIPWAY_HOSTS"
ENGINE_PREDICTOR = "ENGINE_PREDICTOR"
CERTIFICATES = "SELDON_CERT_MOUNT_PATH"
IN_FLIGHT = "SLIPWAY_MAX_IN_FLIGHT"
LOG_URL = "REQUEST_LOGGER_DEFAULT_ENDPOINT"
DEFAULT_CORS_HEADERS = "Accept, Accept-Encoding, Authorization, Content-Length, Content-Type, X-CSRF-Token"
LEVELS = {"DEBUG": "DEBUG", "INFO": "INFO", "WARN": "WARNING", "WARNING": "WARNING", "ERROR": "ERROR"}
PROTOCOLS = ("seldon", "tensorflow", "v2", "kfserving")
TRUTHS = {"true": True, "1": True, "false": False, "0": False}
TRUE_VARIABLE = frozenset({"true", "TRUE", "1"})
"""What switches a variable of Seldon's executor on; whatever else does not (contract §6, 58)."""
SERVICE = "executor"
"""Of the spans, where the environment has no other name (contract §3.16)."""

EXAMPLES = """\
examples:
  python -m slipway.executor --sdep yolo --namespace default --predictor stable \\
      --predictor-file /etc/slipway/predictor/predictor.json
  python -m slipway.executor --file seldon/yolo.yaml --predictor stable --http-port 8000 --grpc-port 5001
  ENGINE_PREDICTOR=$(base64 -w0 predictor.json) python -m slipway.executor --sdep yolo --predictor stable
"""


@dataclass(frozen=True)
class Settings:
    deployment: str
    namespace: str
    predictor: str
    protocol: str
    """Empty: what the manifest says, else seldon."""
    http_port: int
    grpc_port: int
    prometheus_path: str
    predictor_file: Path | None
    manifest: Path | None
    engine_predictor: str | None
    annotations_file: Path
    full_health_checks: bool
    log_level: str
    shutdown: Shutdown
    bind_host: str
    pod_ip: str
    hosts_file: Path | None
    cors_origins: str
    cors_headers: str
    injects_routing: bool
    tracing: TracingSettings | None
    log_url: str = field(repr=False)
    """Where payload loggers without a URL send; may hold a password."""
    log_source: str
    """The ``ce-source`` of payload events: this server's URL (contract §3.10)."""
    log_entries: int
    log_wait_s: float
    log_workers: int
    max_in_flight: int = MAX_IN_FLIGHT


def parse_settings(argv: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """Settings of a command line; argparse ends the process with status 2 on a wrong one.

    Raises:
        SettingError: a value is understood but not offered.
    """
    flags = _parser(environment).parse_args(argv)
    if flags.server_type != "rpc":
        raise SettingError(
            f"--server_type {flags.server_type}: this executor answers REST and gRPC, it reads no Kafka topic"
        )
    if environment.get(KAFKA_BROKER):
        raise SettingError(NO_KAFKA)
    if environment.get(CERTIFICATES):
        raise SettingError(f"{CERTIFICATES}: this executor speaks plain text; let the mesh or the gateway do TLS")
    hosts = environment.get(HOSTS, "")
    return Settings(
        deployment=flags.sdep,
        namespace=flags.namespace,
        predictor=flags.predictor,
        protocol=flags.protocol,
        http_port=flags.http_port,
        grpc_port=flags.grpc_port,
        prometheus_path=flags.prometheus_path,
        predictor_file=flags.predictor_file,
        manifest=flags.file,
        engine_predictor=environment.get(ENGINE_PREDICTOR),
        annotations_file=flags.annotations_file,
        full_health_checks=flags.full_health_checks,
        log_level="DEBUG" if flags.debug else flags.log_level,
        shutdown=Shutdown(drain_s=max(flags.shutdown_delay, DRAIN_S), grace_s=flags.graceful_timeout),
        bind_host=bind_host(environment),
        pod_ip=environment.get(POD_IP, ""),
        hosts_file=Path(hosts) if hosts else None,
        cors_origins=environment.get("CORS_ALLOWED_ORIGINS") or "*",
        cors_headers=environment.get("CORS_ALLOWED_HEADERS") or DEFAULT_CORS_HEADERS,
        injects_routing=bool(environment.get("SELDON_ENABLE_ROUTING_INJECTION")),
        tracing=_tracing(flags, environment),
        log_url=environment.get(LOG_URL, ""),
        log_source=f"http://{flags.hostname}:{flags.http_port}/",
        log_entries=flags.log_work_buffer_size,
        log_wait_s=flags.log_write_timeout_ms / 1000,
        max_in_flight=flags.max_in_flight,
        log_workers=flags.logger_workers,
    )


def _tracing(flags: argparse.Namespace, environment: Mapping[str, str]) -> TracingSettings | None:
    """Seldon's executor has no switch for it: a place for spans is one."""
    asked = environment.get("TRACING", "") in TRUE_VARIABLE or asks_for_jaeger(environment)
    known = {
        "k8s.namespace.name": flags.namespace,
        "seldon.deployment": flags.sdep,
        "seldon.predictor": flags.predictor,
    }
    resource = {key: value for key, value in known.items() if value}
    try:
        return read_tracing(environment, asked=asked, service=SERVICE, resource=resource)
    except TracingError as error:
        raise SettingError(str(error)) from error


def _parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m slipway.executor",
        description="Serve one predictor over REST and gRPC and run its graph. Flags may be written with - or _.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_identity(parser, environment)
    _add_serving(parser, environment)
    return parser


def _add_identity(parser: argparse.ArgumentParser, environment: Mapping[str, str]) -> None:
    parser.add_argument("--sdep", default="", help="name of the SeldonDeployment (labels of the metrics)")
    parser.add_argument("--namespace", default="", help="its namespace")
    parser.add_argument("--predictor", default="", help="name of the predictor; with --file, which one to run")
    _add(parser, "predictor_file", type=Path, help="JSON of the defaulted predictor; followed when it changes")
    parser.add_argument("--file", type=Path, help="SeldonDeployment YAML to take the predictor from, for local runs")
    _add(
        parser,
        "annotations_file",
        type=Path,
        default=annotations_file(environment),
        help="the Pod's annotations (downward API): time-outs and message sizes (default: %(default)s)",
    )


def _add_serving(parser: argparse.ArgumentParser, environment: Mapping[str, str]) -> None:
    _add(parser, "http_port", type=_port, default=8000, help="REST port, 0 for any free one (default: %(default)s)")
    _add(parser, "grpc_port", type=_port, default=5001, help="gRPC port, 0 for any free one (default: %(default)s)")
    parser.add_argument(
        "--protocol", default="", choices=PROTOCOLS,
        help="what requests and nodes speak (default: with --file what its spec.protocol says, else seldon)",
    )  # fmt: skip
    parser.add_argument("--transport", default="rest", choices=("rest", "grpc"), help="both are always served")
    _add(parser, "server_type", default="rpc", choices=("rpc", "kafka"))
    _add(parser, "prometheus_path", default="/metrics", help="path of the metrics (default: %(default)s)")
    _add_payload_log(parser)
    _add(
        parser, "full_health_checks", type=_truth, nargs="?", const=True, default=False,
        help="/ready asks each node's health endpoint instead of connecting only",
    )  # fmt: skip
    _add(
        parser, "max_in_flight", type=_whole(1, MAX_IN_FLIGHT), metavar="COUNT",
        default=environment.get(IN_FLIGHT) or f"{MAX_IN_FLIGHT}",
        help=f"requests under way; one more is answered 429 before its body is read (default: {IN_FLIGHT}, else {MAX_IN_FLIGHT})",
    )  # fmt: skip
    _add(parser, "graceful_timeout", type=_seconds, default=GRACE_S, help="time for work under way after SIGTERM: 15s")
    _add(parser, "shutdown_delay", type=_seconds, default=DRAIN_S, help="not ready but serving after SIGTERM: 0.5s")
    _add(
        parser, "log_level", default=environment.get("SELDON_LOG_LEVEL") or "INFO", type=_level,
        metavar="LEVEL", help=f"{', '.join(LEVELS)} (default: SELDON_LOG_LEVEL, else INFO)",
    )  # fmt: skip
    parser.add_argument(
        "--debug", type=_truth, nargs="?", const=True, default=environment.get("SELDON_DEBUG", "") in TRUE_VARIABLE,
        help="log at DEBUG, whatever --log_level says (default: SELDON_DEBUG: true, TRUE and 1 mean yes)",
    )  # fmt: skip


def _add_payload_log(parser: argparse.ArgumentParser) -> None:
    _add(
        parser, "log_work_buffer_size", type=_whole(1, MAX_LOG_ENTRIES), default=LOG_ENTRIES,
        help="payload events that wait to be sent (default: %(default)s); their bytes are bounded too",
    )  # fmt: skip
    _add(
        parser, "log_write_timeout_ms", type=_whole(0, MAX_LOG_WAIT_MS), default=LOG_WAIT_MS,
        help="how long one more may wait for a place among them, no request waits with it (default: %(default)s)",
    )  # fmt: skip
    _add(
        parser, "logger_workers", type=_whole(1, MAX_LOG_WORKERS), default=LOG_WORKERS,
        help="payload events that are sent at once (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--hostname", default="", help="host in the ce-source of payload events (default: none)")


def _whole(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text[:40]!r} is no whole number from {least} to {most}")
        return int(text)

    return read


def _add(parser: argparse.ArgumentParser, name: str, **options: object) -> None:
    """A flag under Seldon's spelling and the usual one."""
    parser.add_argument(f"--{name}", f"--{name.replace('_', '-')}", dest=name, **options)  # type: ignore[arg-type]


def _truth(text: str) -> bool:
    try:
        return TRUTHS[text.lower()]
    except KeyError:
        raise argparse.ArgumentTypeError(f"{text!r} is not one of {', '.join(TRUTHS)}") from None


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > MAX_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 0 (any) to {MAX_PORT}")
    return int(text)


def _level(text: str) -> str:
    level = text.upper()
    if level not in LEVELS:
        raise argparse.ArgumentTypeError(f"{text!r} is not one of {', '.join(LEVELS)}")
    return LEVELS[level]


def _seconds(text: str) -> float:
    """``15``, ``15s`` and ``500ms``: Go's short durations and plain seconds."""
    number, factor = (text[:-2], 0.001) if text.endswith("ms") else (text.removesuffix("s"), 1.0)
    try:
        seconds = float(number) * factor
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration; examples: 15s, 500ms, 2.5") from None
    if not 0 <= seconds <= MAX_SHUTDOWN_S:
        raise argparse.ArgumentTypeError(f"{text!r} is outside of 0s to {MAX_SHUTDOWN_S:g}s")
    return seconds
