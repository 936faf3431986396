"""The controller's command line → its settings."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import yaml

from slipway.contract.predictor_servers import SHIPPED, Servers, parse_servers
from slipway.controller.process_options import add_process_options
from slipway.controller.seldon_options import add_seldons, ports_of
from slipway.controller.settings import Settings

EXAMPLES = """\
examples:
  python -m slipway.controller --kubeconfig .slipway/kubeconfig
  python -m slipway.controller --istio-gateway istio-system/seldon-gateway --executor-image slipway/executor:0.1.0
  python -m slipway.controller --leader-elect --health-port 8080      # in a Pod, beside another one

The registry's address and login are MLFLOW_TRACKING_URI, MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD of the
environment; without them those of the Secret that --default-model-secret names, whenever it comes or changes.
"""
MIN_FOLLOW_INTERVAL_S, MAX_FOLLOW_INTERVAL_S = 0.1, 3600.0


def make_parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    """``environment``: where Seldon's variables stand."""
    defaults = Settings()
    parser = argparse.ArgumentParser(
        prog="python -m slipway.controller",
        description="Keep every SeldonDeployment as its manifest says.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--kubeconfig", help="default: KUBECONFIG, else the Pod's ServiceAccount")
    parser.add_argument("--executor-image", default=defaults.executor_image)
    parser.add_argument("--storage-initializer-image", default=defaults.storage_initializer_image)
    parser.add_argument("--istio-gateway", default=defaults.istio_gateway, metavar="NAMESPACE/NAME")
    parser.add_argument(
        "--default-model-secret", default="/".join(defaults.default_model_secret), metavar="NAMESPACE/NAME"
    )
    parser.add_argument("--namespace", help="look after the SeldonDeployments of this namespace only (default: all)")
    parser.add_argument("--keda", action="store_true", help="KEDA is installed: kedaSpec becomes a ScaledObject")
    parser.add_argument(
        "--own-mesh",
        action="store_true",
        help="the gateway is the mesh of one machine: slipway.dev/sticky and slipway.dev/rate-limit work",
    )
    parser.add_argument(
        "--follow-interval",
        type=_seconds,
        default=defaults.follow_interval_s,
        metavar="SECONDS",
        help=f"pause between two looks at where followed aliases point (default {defaults.follow_interval_s:g})",
    )
    parser.add_argument(
        "--predictor-servers",
        type=read_servers,
        default=defaults.predictor_servers,
        metavar="FILE",
        help=f"YAML with the images of prepackaged servers besides or instead of {', '.join(SHIPPED)}: "
        "`TRITON_SERVER: registry.example/tritonserver:25.09`, or by protocol `NAME: {seldon: IMAGE, v2: IMAGE}`",
    )
    add_process_options(parser)
    add_seldons(parser, environment)
    return parser


def settings_of(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> Settings:
    """What was said; ends with a usage error where it is none."""
    namespace, separator, name = arguments.default_model_secret.partition("/")
    if not separator:
        parser.error(f"--default-model-secret {arguments.default_model_secret!r}: write NAMESPACE/NAME")
    return Settings(
        executor_image=arguments.executor_image,
        storage_initializer_image=arguments.storage_initializer_image,
        istio_gateway=arguments.istio_gateway,
        default_model_secret=(namespace, name),
        predictor_servers=arguments.predictor_servers,
        has_keda=arguments.keda,
        has_own_mesh=arguments.own_mesh,
        follow_interval_s=arguments.follow_interval,
        log_url=arguments.request_logger_default_endpoint,
        prefixes_names=arguments.deployment_name_as_prefix,
        ports=ports_of(arguments),
        namespace=arguments.namespace,
        controller_id=arguments.controller_id,
    )


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not MIN_FOLLOW_INTERVAL_S <= value <= MAX_FOLLOW_INTERVAL_S:
        raise argparse.ArgumentTypeError(
            f"{text!r}: from {MIN_FOLLOW_INTERVAL_S:g} to {MAX_FOLLOW_INTERVAL_S:g} seconds"
        )
    return value


def read_servers(path: str) -> Servers:
    """What ``--predictor-servers`` names, beside those that come along."""
    try:
        return {**SHIPPED, **parse_servers(yaml.safe_load(Path(path).read_text()))}
    except (OSError, yaml.YAMLError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"{path}: {error}") from error
