"""``slipway apply``: manifests → objects of the API, by server-side apply, with one line for what became of each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from slipway.cli.objects import FIELD_MANAGER, Failure, Object, content, namespace_option, read_manifests, run
from slipway.cli.usage import files_option, kustomization_option
from slipway.kube.client import Kube
from slipway.kube.discovery import UnknownKind, discover, kind_of_manifest
from slipway.kube.errors import NotFound
from slipway.kube.kinds import NAMESPACE, Kind
from slipway.kube.manifests import ManifestError, in_order, manifest_files


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
      slipway apply -f manifests/
      slipway apply -k seldon/overlays/canary
    """  # noqa: D301  - click reads the backspace character
    if not files and not kustomization:
        raise click.UsageError("say what to apply: -f FILE, -f DIR or -k DIR")
    origins = _read(files, kustomization)
    if not origins:
        raise Failure(
            f"nothing to apply in {', '.join(files) or kustomization}: a folder with a kustomization goes with -k"
        )
    run(lambda kube: _apply(kube, origins, namespace=namespace, dry_run=dry_run))


def _read(files: Sequence[str], kustomization: str | None) -> list[tuple[Object, str]]:
    """Each object with the file, or the kustomization, that it is from. Raises Failure."""
    try:
        paths = [str(path) for name in files for path in ([name] if name == "-" else manifest_files(Path(name)))]
    except ManifestError as exc:
        raise Failure(str(exc)) from exc
    found = [(obj, "stdin" if path == "-" else path) for path in paths for obj in read_manifests([path], None)]
    return [*found, *((obj, str(kustomization)) for obj in read_manifests([], kustomization))]


async def _apply(kube: Kube, origins: Sequence[tuple[Object, str]], *, namespace: str | None, dry_run: bool) -> None:
    served = await discover(kube)
    origin_of = {id(obj): origin for obj, origin in origins}
    for obj in in_order(obj for obj, _ in origins):
        try:
            kind = kind_of_manifest(served, obj)
            place = (
                (obj["metadata"].get("namespace") or namespace or kube.access.namespace) if kind.namespaced else None
            )
            click.echo(await apply_object(kube, obj, kind, namespace=place, dry_run=dry_run))
        except UnknownKind as exc:
            raise Failure(f"{origin_of[id(obj)]}: {exc}") from exc


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


def explained_absence(error: NotFound, obj: Object) -> Failure | UnknownKind | NotFound:
    """What an apply is refused with where its namespace is not there: how to make it; where its version is not served: that.

    Any other absence stays as it is.
    """
    missing = error.status.get("details") or {}
    if not missing.get("kind"):  # nothing of that path is there
        what = f"{obj['apiVersion']} {obj['kind']} {obj['metadata']['name']}"
        return UnknownKind(f"{what}: this API does not serve that version; `kubectl api-resources` lists what it does")
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
    return "unchanged" if content(before) == content(after) else "configured"  # a dry run moves no version
