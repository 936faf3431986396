"""``slipway apply``: manifests → objects of the API, by server-side apply, with one line for what became of each."""

from __future__ import annotations

from collections.abc import Sequence

import click

from slipway.cli.objects import FIELD_MANAGER, Failure, Object, namespace_option, read_manifests, run
from slipway.cli.usage import files_option, kustomization_option
from slipway.kube.client import Kube
from slipway.kube.discovery import discover, kind_of_manifest
from slipway.kube.errors import NotFound
from slipway.kube.kinds import NAMESPACE, Kind
from slipway.kube.manifests import in_order


@click.command("apply")
@files_option
@kustomization_option
@click.option("--dry-run", is_flag=True, help="Ask the API, store nothing.")
@namespace_option
def apply_command(files: tuple[str, ...], kustomization: str | None, namespace: str | None, *, dry_run: bool) -> None:
    """Apply manifests: create what is new, change what differs.

    \b
    Examples:
      slipway apply -f deployment.yaml
      slipway apply -f seldon/base/detector/
      slipway apply -k seldon/overlays/canary
    """  # noqa: D301  - click reads the backspace character
    if not files and not kustomization:
        raise click.UsageError("say what to apply: -f FILE, -f DIR or -k DIR")
    objects = read_manifests(files, kustomization)
    if not objects:
        raise Failure(
            f"nothing to apply in {', '.join(files) or kustomization}: a folder with a kustomization goes with -k"
        )
    run(lambda kube: _apply(kube, in_order(objects), namespace=namespace, dry_run=dry_run))


async def _apply(kube: Kube, objects: Sequence[Object], *, namespace: str | None, dry_run: bool) -> None:
    served = await discover(kube)
    for obj in objects:
        kind = kind_of_manifest(served, obj)
        place = (obj["metadata"].get("namespace") or namespace or kube.access.namespace) if kind.namespaced else None
        click.echo(await apply_object(kube, obj, kind, namespace=place, dry_run=dry_run))


async def apply_object(kube: Kube, obj: Object, kind: Kind, *, namespace: str | None, dry_run: bool) -> str:
    """Apply one object; the line that says what became of it."""
    name = obj["metadata"]["name"]
    try:
        before: Object | None = await kube.get(kind, name, namespace=namespace)
    except NotFound:
        before = None
    try:
        after = await kube.apply(obj, kind=kind, namespace=namespace, field_manager=FIELD_MANAGER, dry_run=dry_run)
    except NotFound as exc:
        raise explained_absence(exc, obj) from exc
    return f"{kind.kind.lower()}/{name} {_outcome(before, after)}{' (dry run)' if dry_run else ''}"


def explained_absence(error: NotFound, obj: Object) -> Failure | NotFound:
    """What an apply is refused with where its namespace is not there: how to make it. Any other absence stays as it is."""
    missing = error.status.get("details") or {}
    if missing.get("kind") != NAMESPACE.plural:
        return error
    name, label = missing["name"], f"{obj['kind'].lower()}/{obj['metadata']['name']}"
    return Failure(
        f"{label}: there is no namespace {name}: make it with `kubectl create namespace {name}`, or for a "
        f"team with `slipway tenant add {name}`"
    )


def _outcome(before: Object | None, after: Object) -> str:
    if before is None:
        return "created"
    same = before["metadata"].get("resourceVersion") == after["metadata"].get("resourceVersion")
    return "unchanged" if same else "configured"
