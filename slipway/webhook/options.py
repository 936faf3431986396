"""The webhook's command line → where it listens, by what certificate, for which controller."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

from slipway.contract.controller_id import NO_ID, VARIABLE
from slipway.contract.predictor_servers import SHIPPED
from slipway.controller.options import read_servers
from slipway.controller.seldon_options import read_controller_id
from slipway.controller.settings import Settings
from slipway.serving.listening import every_address

EXAMPLES = """\
examples:
  python -m slipway.webhook
  python -m slipway.webhook --controller-id slipway --keda
  python -m slipway.webhook --certificate-folder /etc/slipway/tls      # cert-manager renews it

The controller's flags of the same names have to say the same: a webhook speaks for one controller.
"""
PORT = 9443
SERVICE = "slipway-system/slipway-webhook"
SECRET = "slipway-system/slipway-webhook-certificate"  # noqa: S105  - a name
CONFIGURATION = "slipway-webhook"
DRAIN_S, MAX_DRAIN_S = 5.0, 60.0
"""Nodes learn within seconds that a Pod ends; what they still send it is answered."""


@dataclass(frozen=True)
class Options:
    """``secret`` is (namespace, name); ``names``: DNS names of the Service, by which an API server calls it."""

    host: str
    port: int
    kubeconfig: str | None
    secret: tuple[str, str]
    configuration: str
    names: tuple[str, ...]
    certificate_folder: Path | None
    drain_s: float
    settings: Settings


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m slipway.webhook",
        description="Refuse SeldonDeployments that break a rule, before the API server stores them.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default=every_address(), help="address to listen on (default: all)")
    parser.add_argument("--port", type=int, default=PORT, help=f"default {PORT}")
    parser.add_argument("--kubeconfig", help="default: KUBECONFIG, else the Pod's ServiceAccount")
    parser.add_argument("--service", default=SERVICE, metavar="NAMESPACE/NAME", help=f"default {SERVICE}")
    parser.add_argument(
        "--secret", default=SECRET, metavar="NAMESPACE/NAME", help=f"where the certificate is kept (default {SECRET})"
    )
    parser.add_argument(
        "--configuration",
        default=CONFIGURATION,
        metavar="NAME",
        help=f"the ValidatingWebhookConfiguration whose caBundle is kept (default {CONFIGURATION})",
    )
    parser.add_argument(
        "--certificate-folder",
        type=Path,
        metavar="FOLDER",
        help="tls.crt and tls.key that somebody else renews; then no Secret and no caBundle is written",
    )
    parser.add_argument(
        "--drain",
        type=_seconds,
        default=DRAIN_S,
        metavar="SECONDS",
        help=f"how long reviews are answered after SIGTERM (default {DRAIN_S:g})",
    )
    parser.add_argument(
        "--controller-id",
        type=read_controller_id,
        default=os.environ.get(VARIABLE, NO_ID),
        metavar="ID",
        help=f"of the controller that it speaks for (also: {VARIABLE})",
    )
    parser.add_argument("--keda", action="store_true", help="the controller is told so, too: kedaSpec has its effect")
    parser.add_argument(
        "--predictor-servers", type=read_servers, default=SHIPPED, metavar="FILE", help="as the controller's"
    )
    return parser


def options_of(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> Options:
    """What was said; ends with a usage error where it is none."""
    namespace, name = _place(parser, "--service", arguments.service)
    return Options(
        host=arguments.host,
        port=arguments.port,
        kubeconfig=arguments.kubeconfig,
        secret=_place(parser, "--secret", arguments.secret),
        configuration=arguments.configuration,
        names=tuple(f"{name}.{namespace}.{end}" for end in ("svc", "svc.cluster.local")),
        certificate_folder=arguments.certificate_folder,
        drain_s=arguments.drain,
        settings=Settings(
            predictor_servers=arguments.predictor_servers,
            has_keda=arguments.keda,
            controller_id=arguments.controller_id,
        ),
    )


def _place(parser: argparse.ArgumentParser, flag: str, text: str) -> tuple[str, str]:
    namespace, separator, name = text.partition("/")
    if not (namespace and separator and name):
        parser.error(f"{flag} {text!r}: write NAMESPACE/NAME")
    return namespace, name


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= MAX_DRAIN_S:
        raise argparse.ArgumentTypeError(f"{text!r}: from 0 to {MAX_DRAIN_S:g} seconds")
    return value
