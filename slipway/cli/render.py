"""``slipway render``: what the controller makes of SeldonDeployments, as manifests; ``--plain``: for a cluster without it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import yaml

from slipway.cli.check_api import DEFAULT_NAMESPACE, is_seldon_deployment
from slipway.cli.objects import Failure, read_manifests
from slipway.cli.usage import NAMESPACE, Written, files_option, kustomization_option
from slipway.contract.admission import review
from slipway.contract.causes import Cause
from slipway.contract.sdep import SeldonDeployment
from slipway.controller.desired import desired
from slipway.controller.facts import Facts
from slipway.controller.plain import Entrance, plain, refused_plain, without_owner
from slipway.controller.settings import Settings
from slipway.kube.manifests import in_order

MADE = "# Made by slipway render: edit the SeldonDeployment instead.\n"
KUSTOMIZATION = "kustomization.yaml"
INGRESS, HTTP_ROUTE = "ingress", "httproute"
INGRESS_CLASS = "nginx"
FILE = re.compile(r"[\w.:-]+")
_PART = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
DOMAIN = re.compile(rf"(?=.{{1,253}}\Z){_PART}(\.{_PART})*")
GATEWAY = re.compile(rf"{_PART}/{DOMAIN.pattern}")
HOST = Written(
    "NAME", re.compile(rf"|(\*\.)?{DOMAIN.pattern}"), "a host is a DNS name in lower case, as is *.example.org"
)
Object = dict[str, Any]


@dataclass(frozen=True)
class Form:
    """``entrance`` None: as the controller makes it."""

    entrance: Entrance | None
    namespace: str


@click.command("render")
@files_option
@kustomization_option
@click.option("--plain", "is_plain", is_flag=True, help="For a cluster with neither Slipway's controller nor Istio.")
@click.option(
    "--route", type=click.Choice([HTTP_ROUTE, INGRESS]), help="With --plain, and needed there: how requests come in."
)
@click.option(
    "--of", "owner", metavar="NAME", help="NAMESPACE/NAME of the HTTPRoute's Gateway, or class of the Ingress (nginx)."
)
@click.option("--host", default="", type=HOST, help="Host of the Ingress or HTTPRoute; without it every host.")
@click.option(
    "-n",
    "--namespace",
    type=NAMESPACE,
    default=DEFAULT_NAMESPACE,
    show_default=True,
    help="Of objects that name none.",
)
@click.option(
    "--to",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write a kustomization there, a file for each object.",
)
def render_command(
    files: tuple[str, ...],
    kustomization: str | None,
    route: str | None,
    owner: str | None,
    host: str,
    namespace: str,
    folder: Path | None,
    *,
    is_plain: bool,
) -> None:
    """Print the objects that a SeldonDeployment becomes. Nothing is asked of a cluster or a registry.

    Objects of other kinds are printed as they are. With --plain the output stands by itself: Deployments, Services, and an
    Ingress or HTTPRoute for REST; what would need the controller or a mesh is refused. A modelUri `models:/name/1` is
    looked up by each Pod, whose Secret `slipway-model-storage` says where.

    Exit codes: 0 done, 1 refused, 2 wrong usage.

    \b
    Examples:
      slipway render -k seldon/overlays/canary | kubectl diff -f -
      slipway render -k seldon/overlays/canary --plain --route httproute --of infra/public --to deploy/yolo
      slipway render -k seldon/base/yolo --plain --route ingress --host yolo.example | kubectl apply -f -
    """  # noqa: D301  - click reads the backspace character
    if not files and not kustomization:
        raise click.UsageError("say what to render: -f FILE, -f DIR or -k DIR")
    if not is_plain and (route or owner or host):
        raise click.UsageError("--route, --of and --host go with --plain")
    if is_plain and not route:
        raise click.UsageError(
            "--plain: say how requests come in, --route httproute --of NAMESPACE/NAME or --route ingress"
        )
    _refuse_owner(route, owner)
    kind: Any = route  # one of the choices
    entrance = Entrance(kind, owner or INGRESS_CLASS, host) if is_plain else None
    found = in_order(render(read_manifests(files, kustomization), Form(entrance, namespace)))
    if not found:
        raise Failure("nothing to render: a folder with a kustomization goes with -k")
    if folder is None:
        click.echo("---\n".join(map(dump, found)), nl=False)
        return
    for name in write(found, folder):
        click.echo(folder / name)


def _refuse_owner(route: str | None, owner: str | None) -> None:
    """Raises UsageError for what can be no Gateway's or class's name."""
    if route == HTTP_ROUTE and not GATEWAY.fullmatch(owner or ""):
        raise click.UsageError("--route httproute: say of which Gateway, --of NAMESPACE/NAME")
    if owner and route != HTTP_ROUTE and not DOMAIN.fullmatch(owner):
        raise click.UsageError(f"--of {owner!r}: the name of an IngressClass, such as {INGRESS_CLASS}")


def render(objects: Sequence[Object], form: Form) -> Iterator[Object]:
    """What each object becomes. Raises Failure for one that the controller, or the plain form, would refuse."""
    for obj in objects:
        if not is_seldon_deployment(obj):
            yield obj
            continue
        meta = {**obj["metadata"], "namespace": obj["metadata"].get("namespace") or form.namespace}
        _refuse(obj, review(obj, predictor_servers=Settings().predictor_servers))
        sdep = SeldonDeployment.from_json({**obj, "metadata": meta})
        if form.entrance is None:
            yield from map(without_owner, desired(sdep, Facts(Settings(has_keda=True))))
            continue
        _refuse(obj, [*refused_plain(sdep, form.entrance)])
        yield from plain(sdep, form.entrance)


def _refuse(obj: Object, causes: Sequence[Cause]) -> None:
    if causes:
        told = "".join(f"\n  {cause.field}: {cause.message}" for cause in causes)
        raise Failure(f"{obj['metadata']['name']}:{told}")


def dump(obj: Object) -> str:
    copied = json.loads(json.dumps(obj))  # what two places share would be an anchor
    return str(yaml.safe_dump(copied, sort_keys=False, width=120, allow_unicode=True))


def write(objects: Sequence[Object], folder: Path) -> list[str]:
    """A file for each object and a kustomization of them; what an earlier call made there goes. Raises Failure."""
    files: dict[str, str] = {}
    for obj in objects:
        name = f"{obj['kind'].lower()}-{obj['metadata']['name']}.yaml"
        if name in files or not FILE.fullmatch(name):
            raise Failure(
                f"{obj['kind']} {obj['metadata']['name']}: there is a second one, or no file can have that name"
            )
        files[name] = dump(obj)
    listed = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": list(files)}
    files[KUSTOMIZATION] = dump(listed)
    folder.mkdir(parents=True, exist_ok=True)
    here = {path.name: path for path in folder.glob("*.yaml")}
    others = [name for name, path in here.items() if not path.read_text().startswith(MADE)]
    if others:
        raise Failure(
            f"{folder} has {', '.join(sorted(others))}, which slipway render did not make: name another folder"
        )
    for path in here.values():
        path.unlink()
    for name, text in files.items():
        (folder / name).write_text(MADE + text)
    return list(files)
