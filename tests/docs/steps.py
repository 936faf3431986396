"""What the order of a page's commands has against it, and ports that are forwarded from a Service that has none such."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from tests.docs import kubectl
from tests.docs.commands import Command, option, options
from tests.docs.world import OF_CLUSTERS, World

Service = tuple[str, str]
PORTS_OF_CHARTS: Mapping[Service, frozenset[str]] = {
    ("istio-system", "istio-ingressgateway"): frozenset({"80", "443"}),
    ("jupyterhub", "proxy-public"): frozenset({"80", "http"}),
    ("seaweedfs", "seaweedfs-s3"): frozenset({"8333"}),
}
"""(namespace, name) → numbers and names of the Services that charts make; those of values are compared by a test."""


def complain_of_ports(command: Command, world: World) -> Iterator[str]:
    """``port-forward service/a 1:2``: Service a has the port 2, by number or name."""
    words = list(command.words)
    if kubectl.subcommand(command.words[1:]) != ("port-forward",):
        return
    for namespace, kind, name in kubectl.targets(command):
        if kind != "service":
            yield f"{command}: forwards from a {kind}, whose ports nobody looks at"
            continue
        there = _ports(world, namespace, name)
        asked = [word.rpartition(":")[2] for word in words[words.index(f"service/{name}") + 1 :] if word[0] != "-"]
        yield from (f"{command}: service/{name} has no port {port}" for port in asked if port not in there)
        if not asked:
            yield f"{command}: forwards no port"


def _ports(world: World, namespace: str, name: str) -> frozenset[str]:
    made = [
        port
        for item in world.whole
        if item["kind"] == "Service" and item["metadata"]["name"] == name
        if item["metadata"].get("namespace", "") == namespace
        for port in item["spec"]["ports"]
    ]
    of_charts = PORTS_OF_CHARTS.get((namespace, name), frozenset())
    return of_charts | {str(port[key]) for port in made for key in ("port", "name") if key in port}


def namespaces_too_early(commands: Iterable[Command], folder: Path) -> Iterator[str]:
    """Commands that use a namespace before one above them makes it; ``folder`` is the reader's."""
    there = set(OF_CLUSTERS)
    for command in commands:
        built = _applied(command, folder)
        there |= set(_made(command, built))
        used = {item["metadata"]["namespace"] for item in built if "namespace" in item["metadata"]}
        if command.program in ("kubectl", "helm"):
            used.add(option(command.words, *kubectl.NAMESPACE))
        yield from (f"{command}: nothing above makes the namespace {name}" for name in sorted(used - there - {""}))


def _applied(command: Command, folder: Path) -> list[kubectl.Object]:
    if command.program != "kubectl" or kubectl.subcommand(command.words[1:]) != ("apply",):
        return []
    named = options(command.words, "-k", "--kustomize")
    return [item for name in named for item in kubectl.build(folder / name)]


def _made(command: Command, built: Iterable[kubectl.Object]) -> Iterator[str]:
    yield from (item["metadata"]["name"] for item in built if item["kind"] == "Namespace")
    if kubectl.subcommand(command.words[1:]) == ("create", "namespace"):
        yield command.words[3]
    if command.program == "helm" and "--create-namespace" in command.words:
        yield option(command.words, *kubectl.NAMESPACE)
    if command.words[:3] == ("slipway", "tenant", "add"):
        yield command.words[3]
