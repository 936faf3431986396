"""``slipway doctor``: what of a cluster is in order, and what is to be fixed."""

from __future__ import annotations

import asyncio
import json
import sys

import click

from slipway.cli.objects import Failure, NotReady, connect, namespace_option
from slipway.cli.usage import WrongUse
from slipway.doctor.checks.definition import ADOPTION
from slipway.doctor.facts import Facts
from slipway.doctor.finding import Finding, Report, render_report
from slipway.doctor.findings import findings
from slipway.doctor.look import NotAnApi, look
from slipway.kube.client import Kube
from slipway.kube.errors import ApiError, KubeError, Unavailable

FAILED = 1
API = "kubernetes"
"""The check whose finding an early end is."""
LOG_IN = "kubectl auth whoami"
REPAIRS = {NotReady: "kubectl cluster-info", WrongUse: "kubectl config get-contexts"}


@click.command("doctor")
@click.option(
    "--context",
    metavar="NAME",
    help="Context of the kubeconfig (default: its current one): KUBECONFIG, else SLIPWAY_HOME's, else ~/.kube/config.",
)
@click.option("--adopt-crd", is_flag=True, help="Also list what Slipway's CRD would change in another's place.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@namespace_option
def doctor_command(context: str | None, namespace: str | None, *, adopt_crd: bool, as_json: bool) -> None:
    """Look at a cluster, or at this machine's platform, and say what to fix.

    Versions, nodes, DNS, permissions, the definition of SeldonDeployments, controller and its Lease, webhook, the storage of
    models, Istio's gateway and its buffers, mutual TLS, the metrics API; and for the namespace its quotas, limits and Pod
    security. Nothing is changed: objects are read, and the API is asked who may do what. MLflow and S3 are asked without
    credentials, through the API's proxy where they are Services, else from this machine. n/a is what has no meaning here,
    unknown what could not be looked at, each with the reason. With --json standard output is one object, however it ends.

    Exit codes: 0 nothing is to be fixed, 1 something is, 2 wrong usage, 3 the API is not there.

    \b
    Examples:
      slipway doctor
      slipway doctor --context kind-slipway -n team-a
      slipway doctor --adopt-crd
      slipway doctor --json | jq -r '.findings[] | select(.level == "fail") | .repair'
    """  # noqa: D301  - click reads the backspace character
    server = ""
    try:
        kube = connect(context)
        server = kube.access.server
        facts = asyncio.run(_facts(kube, namespace))
    except click.ClickException as end:
        if as_json:
            click.echo(_as_json(Report(server, (_of_early_end(server, end),))))
        raise
    asked = ADOPTION.findings(facts) if adopt_crd else []
    report = Report(server, (*findings(facts), *asked))
    click.echo(_as_json(report) if as_json else render_report(report))
    if report.count("fail"):
        sys.exit(FAILED)


def _as_json(report: Report) -> str:
    return json.dumps(report.as_json(), indent=2)


def _of_early_end(server: str, end: click.ClickException) -> Finding:
    """What a script finds where nothing else could be looked at."""
    return Finding("fail", API, server, end.message, REPAIRS.get(type(end), LOG_IN))


async def _facts(kube: Kube, namespace: str | None) -> Facts:
    """Raises NotReady and Failure."""
    try:
        async with kube:
            return await look(kube, namespace=namespace)
    except (Unavailable, NotAnApi) as exc:
        raise NotReady(f"{exc}: no cluster can be looked at; `kubectl cluster-info` should answer") from exc
    except ApiError as exc:
        raise Failure(f"the API does not let you in: {exc}") from exc
    except KubeError as exc:
        raise Failure(str(exc)) from exc
