"""What a page's reader has after its commands: objects of the kustomizations, of `create`, of the charts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml
from click.testing import CliRunner

from slipway.cli.main import main
from slipway.contract.sdep import SeldonDeployment
from slipway.controller.desired import desired
from slipway.controller.facts import Facts
from slipway.controller.settings import Settings
from slipway.registry import ResolvedModel
from tests.docs import kubectl
from tests.docs.commands import Command, option, options
from tests.helm_values.charts import Chart

OF_CHARTS = {
    ("istio-system", "service", "istio-ingressgateway"): "gateway",
    ("jupyterhub", "deployment", "autohttps"): "jupyterhub",
    ("jupyterhub", "service", "proxy-public"): "jupyterhub",
    ("seaweedfs", "service", "seaweedfs-s3"): "seaweedfs",
}
"""What the charts make under these names, and the chart: none is rendered here."""
OF_CLUSTERS = {"default", "kube-system"}
SDEP = "SeldonDeployment"
DIGEST = "sha256:" + 64 * "0"


@dataclass(frozen=True)
class World:
    """``objects`` are (namespace, kind in lower case, name)."""

    objects: frozenset[tuple[str, str, str]]
    namespaces: frozenset[str]
    whole: tuple[kubectl.Object, ...]


def made(commands: Iterable[Command], charts: Iterable[Chart], *, repository: Path, folder: Path) -> World:
    """``folder`` is where `create` finds the files that it reads."""
    known = list(commands)
    kept = [item for command in known for item in _of_folders(command, repository)]
    kept += [kubectl.created(command, folder) for command in known if is_tried(command)]
    kept += [item for command in known for item in _of_tenants(command)]
    kept += [item for sdep in kept if sdep["kind"] == SDEP for item in of_the_controller(sdep)]
    objects = {_key(item) for item in kept} | set(OF_CHARTS) | set(_jobs(known))
    namespaces = {name for _, kind, name in objects if kind == "namespace"} | OF_CLUSTERS
    namespaces |= {chart.namespace for chart in charts}
    return World(frozenset(objects), frozenset(namespaces), tuple(kept))


def of_the_controller(sdep: kubectl.Object) -> list[kubectl.Object]:
    """What the controller makes of a SeldonDeployment, whatever versions its models have."""
    parsed = SeldonDeployment.from_json(sdep)
    models = {
        (predictor.name, node.name): ResolvedModel("a", "1", DIGEST, "s3://models/a/1")
        for predictor in parsed.predictors
        for node in predictor.graph.walk()
        if node.model_uri
    }
    return desired(parsed, Facts(Settings(), models))


def complain_of_targets(command: Command, world: World) -> Iterator[str]:
    """Namespaces and ``kind/name`` of a command that nothing makes."""
    namespace = option(command.words, *kubectl.NAMESPACE)
    if namespace and namespace not in world.namespaces:
        yield f"{command}: nothing makes the namespace {namespace}"
    for target in kubectl.targets(command):
        if target not in world.objects:
            yield f"{command}: nothing makes {target[1]}/{target[2]} in {target[0] or 'no namespace'}"


def _of_folders(command: Command, repository: Path) -> Iterator[kubectl.Object]:
    """What an `apply -k` applies, in the namespace that the command names."""
    if "apply" not in command.words[1:4]:
        return
    namespace = option(command.words, *kubectl.NAMESPACE)
    for folder in options(command.words, "-k", "--kustomize"):
        for item in kubectl.build(repository / folder):
            yield {**item, "metadata": {"namespace": namespace, **item["metadata"]}} if namespace else item


def _of_tenants(command: Command) -> list[kubectl.Object]:
    """What `slipway tenant add` would apply, printed by itself."""
    if command.words[:3] != ("slipway", "tenant", "add"):
        return []
    run = CliRunner().invoke(main, [*command.words[1:], "-o", "yaml"])
    assert run.exit_code == 0, f"{command}: {run.output}"
    return list(yaml.safe_load_all(run.output))


def is_tried(command: Command) -> bool:
    """Whether kubectl can make it up by itself: a Job `--from` another object needs the server."""
    if command.program != "kubectl":
        return False
    named = kubectl.subcommand(command.words[1:])
    return named[:1] == ("create",) and named[:2] != ("create", "job")


def _key(item: kubectl.Object) -> tuple[str, str, str]:
    meta = item["metadata"]
    return meta.get("namespace", ""), str(item["kind"]).lower(), meta["name"]


def _jobs(commands: Iterable[Command]) -> Iterator[tuple[str, str, str]]:
    """`create job NAME --from=cronjob/…` asks the server, so that it cannot be tried."""
    for command in commands:
        if kubectl.subcommand(command.words[1:])[:2] == ("create", "job"):
            names = [word for word in command.words if word.startswith("mlflow-")]
            yield option(command.words, *kubectl.NAMESPACE), "job", names[-1]
