"""What Seldon's operator is told by its environment: flags of the controller, for which the variables count too."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping

from slipway.contract.controller_id import LABEL, NO_ID, VARIABLE, check_id
from slipway.contract.defaulting import PortPlan
from slipway.contract.loggers import check_log_url
from slipway.controller.settings import DEFAULT_LOG_URL

LOG_URL = "EXECUTOR_REQUEST_LOGGER_DEFAULT_ENDPOINT"
NAME_AS_PREFIX = "DEPLOYMENT_NAME_AS_PREFIX"
METRICS_NAME = "PREDICTIVE_UNIT_METRICS_PORT_NAME"
PORT_VARIABLES = {
    "http": "PREDICTIVE_UNIT_HTTP_SERVICE_PORT",
    "grpc": "PREDICTIVE_UNIT_GRPC_SERVICE_PORT",
    "metrics": "PREDICTIVE_UNIT_METRICS_SERVICE_PORT",
}
MAX_FIRST_PORT = 60_000
PORT_NAME = re.compile(r"(?=.{1,15}$)(?=.*[a-z])[a-z0-9]+(-[a-z0-9]+)*")  # Kubernetes' IANA_SVC_NAME


def add_seldons(parser: argparse.ArgumentParser, environment: Mapping[str, str]) -> None:
    """What Seldon's operator reads from its environment; the variables count here too."""
    parser.add_argument(
        "--request-logger-default-endpoint",
        type=_log_url,
        default=environment.get(LOG_URL) or DEFAULT_LOG_URL,
        metavar="URL",
        help=f"where payload loggers without a url send (default: {LOG_URL}, else {DEFAULT_LOG_URL})",
    )
    parser.add_argument(
        "--deployment-name-as-prefix",
        action="store_true",
        default=environment.get(NAME_AS_PREFIX, "").lower() == "true",
        help="a Deployment's name above 63 characters is NAME-HASH, not seldon-HASH (also: "
        f"{NAME_AS_PREFIX}=true); changing it makes such Deployments anew",
    )
    parser.add_argument(
        "--controller-id",
        type=read_controller_id,
        default=environment.get(VARIABLE, NO_ID),
        metavar="ID",
        help=f"look after what is labelled {LABEL}=ID, or lies in a namespace so labelled, and nothing else; without an id "
        f"after what is not labelled (also: {VARIABLE})",
    )
    plan = PortPlan()
    parser.add_argument(
        "--first-ports",
        type=_ports,
        default=",".join(environment.get(name) or str(getattr(plan, key)) for key, name in PORT_VARIABLES.items()),
        metavar="HTTP,GRPC,METRICS",
        help=f"where the ports of node containers begin (default {plan.http},{plan.grpc},{plan.metrics}; also: "
        f"{', '.join(PORT_VARIABLES.values())}); changing it restarts their Pods",
    )
    parser.add_argument(
        "--metrics-port-name",
        type=_port_name,
        default=environment.get(METRICS_NAME) or plan.metrics_name,
        metavar="NAME",
        help=f"of the port of a node container that Prometheus scrapes (default {plan.metrics_name}; also: {METRICS_NAME})",
    )


def read_controller_id(text: str) -> str:
    """The value of ``--controller-id``."""
    try:
        return check_id(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _ports(text: str) -> tuple[int, int, int]:
    words = text.split(",")
    if len(words) != len(PORT_VARIABLES) or not all(
        word.isascii() and word.isdigit() and 0 < int(word) <= MAX_FIRST_PORT for word in words
    ):
        raise argparse.ArgumentTypeError(f"{text!r}: three numbers from 1 to {MAX_FIRST_PORT}, as in 9000,9500,6000")
    http, grpc, metrics = map(int, words)
    return http, grpc, metrics


def _port_name(text: str) -> str:
    if not PORT_NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r}: at most 15 of a-z, 0-9 and -, with a letter, as in 'metrics'")
    return text


def _log_url(text: str) -> str:
    try:
        check_log_url(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def ports_of(arguments: argparse.Namespace) -> PortPlan:
    """What was said of the ports of node containers."""
    http, grpc, metrics = arguments.first_ports
    return PortPlan(http, grpc, metrics, arguments.metrics_port_name)
