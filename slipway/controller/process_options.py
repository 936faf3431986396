"""The controller's process: where it says how it is, and whether it has rivals."""

from __future__ import annotations

import argparse
from pathlib import Path

from slipway.controller.election import LEASE_S, RENEW_S, RETRY_S, Timing

MAX_LEASE_S = 3600.0


def add_process_options(parser: argparse.ArgumentParser) -> None:
    """Where nothing is said, it is alone and serves nothing: as one machine starts it."""
    parser.add_argument("--health-socket", type=Path, metavar="PATH", help="answer GET /readyz on this Unix socket")
    parser.add_argument(
        "--health-port", type=_port, metavar="PORT", help="answer /healthz, /readyz and /metrics on this port"
    )
    parser.add_argument(
        "--leader-elect", action="store_true", help="of several controllers, only the holder of a Lease writes"
    )
    parser.add_argument(
        "--leader-election-namespace",
        metavar="NAMESPACE",
        help="of the Lease (default: the kubeconfig's, or the Pod's)",
    )
    parser.add_argument(
        "--leader-election-seconds",
        type=_timing,
        default=Timing(),
        metavar="LEASE,RENEW,RETRY",
        help="how long a silent leader is waited for, how long it goes on without a renewal, the pause between two tries "
        f"(default {LEASE_S:g},{RENEW_S:g},{RETRY_S:g})",
    )
    parser.add_argument(
        "--install-crd",
        action="store_true",
        help="at the start, make the definition of SeldonDeployments, or bring ours up to date; another's is left alone",
    )
    parser.add_argument(
        "--adopt-crd",
        action="store_true",
        help="with --install-crd: replace another's, too; what changes is logged first",
    )


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 65536):
        raise argparse.ArgumentTypeError(f"{text!r}: a number from 0, which takes a free one, to 65535")
    return int(text)


def _timing(text: str) -> Timing:
    try:
        lease_s, renew_s, retry_s = (float(word) for word in text.split(","))
        timing = Timing(lease_s, renew_s, retry_s)
    except ValueError:
        timing = None
    if timing is None or not 1 <= timing.lease_s <= MAX_LEASE_S:
        raise argparse.ArgumentTypeError(
            f"{text!r}: three falling numbers of seconds, the first from 1 to {MAX_LEASE_S:g}, as in 15,10,2"
        )
    return timing
