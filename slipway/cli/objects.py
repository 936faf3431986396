"""``slipway get|describe|logs|delete``: objects of the Kubernetes API, on this machine or on a cluster."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
import yaml

from slipway.cli.columns import render_description, render_table
from slipway.cli.kubeconfigs import find_access
from slipway.cli.usage import NAMESPACE, WrongUse
from slipway.contract.following import printable
from slipway.kube.client import Kube
from slipway.kube.conduct import FREE, Conduct
from slipway.kube.discovery import discover, find_kind, kind_of_manifest
from slipway.kube.errors import ApiError, ConfigError, KubeError, NotFound, Unavailable
from slipway.kube.kinds import EVENT, NODE, Kind
from slipway.kube.manifests import load_manifests, parse_manifests
from slipway.onebox.paths import Paths

T = TypeVar("T")
FIELD_MANAGER = "slipway"
FROM_THE_API = frozenset(
    {"creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid", "deletionTimestamp"}
)
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
KUSTOMIZE_TIMEOUT_S = 60.0
FAILED, NOT_READY = 1, 3
Object = dict[str, Any]


class Failure(click.ClickException):
    """One line for the user."""

    exit_code = FAILED


class NotReady(Failure):
    """The API is not there."""

    exit_code = NOT_READY


def connect(context: str | None = None, conduct: Conduct = FREE) -> Kube:
    """A client that has not asked anything yet. Raises WrongUse where no kubeconfig says where the API is."""
    try:
        return Kube(find_access(context), user_agent=FIELD_MANAGER, conduct=conduct)
    except ConfigError as exc:
        raise WrongUse(str(exc)) from exc


def run(work: Callable[[Kube], Awaitable[T]]) -> T:
    """``work`` with a connected client; failures become one line, and so does each warning of the API."""

    async def connected() -> T:
        async with connect(conduct=Conduct(on_warning=_telling())) as kube:
            return await work(kube)

    try:
        return asyncio.run(connected())
    except Unavailable as exc:
        raise NotReady(f"{exc}: {_what_to_do()}") from exc
    except ApiError as exc:
        raise Failure(_explained(exc)) from exc
    except KubeError as exc:
        raise Failure(str(exc)) from exc


def _telling() -> Callable[[str], None]:
    """What shows each warning once, on standard error: standard output may be one JSON object."""
    shown: set[str] = set()

    def tell(text: str) -> None:
        if text not in shown:
            shown.add(text)
            click.echo(f"Warning: {printable(text)}", err=True)

    return tell


def _what_to_do() -> str:
    given = os.environ.get("KUBECONFIG")
    if given and Path(given) != Paths.from_env().kubeconfig:
        return "is the cluster up, and is it the one of `kubectl config current-context`?"
    return "is the platform up? `slipway status` tells, `slipway up` starts it"


def _explained(error: ApiError) -> str:
    if len(error.causes) < 2:
        return str(error)
    head = str(error).partition(": [")[0]
    return head + "".join(f"\n  {cause.get('field')}: {cause.get('message')}" for cause in error.causes)


namespace_option = click.option("-n", "--namespace", type=NAMESPACE, help="Namespace (default: the kubeconfig's).")


def read_manifests(files: Sequence[str], kustomization: str | None) -> list[Object]:
    """The objects of ``-f`` (a file, a folder, ``-``) and ``-k``, as they come. Raises Failure."""
    found: list[Object] = []
    try:
        for name in files:
            found += parse_manifests(sys.stdin.read(), origin="stdin") if name == "-" else load_manifests(Path(name))
        if kustomization:
            found += parse_manifests(asyncio.run(kustomize(kustomization)), origin=kustomization)
    except KubeError as exc:
        raise Failure(str(exc)) from exc
    return found


async def kustomize(folder: str) -> str:
    """The manifests that a kustomization renders to. Raises Failure."""
    program = shutil.which("kubectl")
    if program is None:
        raise Failure(f"{folder}: kubectl (its built-in kustomize) is needed: install it, or give the files themselves")
    process = await asyncio.create_subprocess_exec(
        program, "kustomize", folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(KUSTOMIZE_TIMEOUT_S):
            output, errors = await process.communicate()
    except TimeoutError as exc:
        process.kill()
        await process.wait()
        raise Failure(f"kubectl kustomize {folder} took longer than {KUSTOMIZE_TIMEOUT_S:.0f} s") from exc
    if process.returncode:
        raise Failure(f"kubectl kustomize {folder}: {errors.decode(errors='replace').strip()}")
    return output.decode()


@click.command("get")
@click.argument("what")
@click.argument("name", required=False)
@click.option("-o", "output", type=click.Choice(["wide", "yaml", "json", "name"]), help="Instead of the table.")
@click.option("-A", "--all-namespaces", is_flag=True, help="Of all namespaces.")
@click.option("-l", "--selector", metavar="LABELS", help="Only objects with these labels: app=a,tier!=b.")
@namespace_option
def get_command(
    what: str,
    name: str | None,
    output: str | None,
    selector: str | None,
    namespace: str | None,
    *,
    all_namespaces: bool,
) -> None:
    """List objects of a kind, or show one.

    \b
    Examples:
      slipway get sdep
      slipway get pods -A -o wide
      slipway get sdep/yolo -o yaml
    """  # noqa: D301  - click reads the backspace character
    if "/" in what and name is None:
        what, _, name = what.partition("/")
        if not name:
            raise click.UsageError("say which: KIND/NAME, or KIND for all of them")
    if all_namespaces and name:
        raise click.UsageError("a name and --all-namespaces do not go together")
    run(
        lambda kube: _get(
            kube, what, name, output=output, selector=selector, namespace=namespace, everywhere=all_namespaces
        )
    )


async def _get(
    kube: Kube,
    what: str,
    name: str | None,
    *,
    output: str | None,
    selector: str | None,
    namespace: str | None,
    everywhere: bool,
) -> None:
    kind = find_kind(await discover(kube), what)
    place = None if everywhere or not kind.namespaced else namespace or kube.access.namespace
    query = {"labelSelector": selector} if selector and name is None else {}
    path = kind.path(namespace=place, name=name)
    if output in (None, "wide"):
        table = await kube.request("GET", path, query=query, headers={"Accept": TABLE})
        click.echo(render_table(table, wide=output == "wide", with_namespace=everywhere and kind.namespaced))
        return
    answer = await kube.request("GET", path, query=query)
    items = [{"apiVersion": kind.api_version, "kind": kind.kind, **i} for i in answer.get("items", [])]
    shown = answer if name else {"apiVersion": "v1", "kind": "List", "items": items}
    if output == "name":
        for item in [answer] if name else items:
            click.echo(f"{kind.kind.lower()}/{item['metadata']['name']}")
    elif output == "json":
        click.echo(json.dumps(_without_managers(shown), indent=2))
    else:
        click.echo(yaml.safe_dump(_without_managers(shown), sort_keys=False).rstrip())


def content(obj: Mapping[str, Any]) -> Object:
    """What a manifest says of an object: without its status and what the API itself writes down."""
    meta = {key: value for key, value in obj["metadata"].items() if key not in FROM_THE_API}
    body = {key: value for key, value in obj.items() if key not in ("metadata", "status", "apiVersion")}
    return {"metadata": meta, **body}


def _without_managers(obj: Object) -> Object:
    """As kubectl shows it: without ``managedFields``."""
    if "items" in obj:
        return {**obj, "items": [_without_managers(item) for item in obj["items"]]}
    return {**obj, "metadata": {k: v for k, v in obj.get("metadata", {}).items() if k != "managedFields"}}


@click.command("describe")
@click.argument("what")
@click.argument("name", required=False)
@namespace_option
def describe_command(what: str, name: str | None, namespace: str | None) -> None:
    """Show one object with its conditions and events.

    \b
    Examples:
      slipway describe sdep yolo
      slipway describe pod/yolo-stable-0-m-5d4f8 -n default
    """  # noqa: D301  - click reads the backspace character
    if name is None:
        what, _, name = what.partition("/")
    if not name:
        raise click.UsageError("say which: KIND NAME or KIND/NAME")
    wanted = name
    run(lambda kube: _describe(kube, what, wanted, namespace=namespace))


async def _describe(kube: Kube, what: str, name: str, *, namespace: str | None) -> None:
    kind = find_kind(await discover(kube), what)
    place = (namespace or kube.access.namespace) if kind.namespaced else None
    obj = await kube.get(kind, name, namespace=place)
    selector = f"involvedObject.name={name},involvedObject.kind={kind.kind}"
    found = (await kube.list(EVENT, namespace=place, field_selector=selector)).items
    ids = (obj["metadata"]["uid"], name if kind.kind == NODE.kind else None)  # kubelets write a Node's name for its uid
    events = [event for event in found if event["involvedObject"].get("uid") in ids]
    click.echo(render_description(obj, kind, events))


@click.command("logs")
@click.argument("pod")
@click.option("-f", "--follow", is_flag=True, help="Go on until the container ends.")
@click.option("-c", "--container", metavar="NAME", help="Which container; needed where a Pod has several.")
@click.option("-p", "--previous", is_flag=True, help="Of the run before the last restart.")
@click.option("--tail", type=click.IntRange(min=0), metavar="LINES", help="Only the last lines.")
@click.option("--timestamps", is_flag=True, help="With the time of each line.")
@namespace_option
def logs_command(
    pod: str,
    container: str | None,
    tail: int | None,
    namespace: str | None,
    *,
    follow: bool,
    previous: bool,
    timestamps: bool,
) -> None:
    """Print a Pod's logs.

    \b
    Examples:
      slipway logs yolo-stable-0-m-5d4f8 -c m
      slipway logs pod/yolo-stable-0-m-5d4f8 -c m -f
    """  # noqa: D301  - click reads the backspace character
    name = pod.partition("/")[2] if pod.startswith(("pod/", "pods/", "po/")) else pod
    if not name:
        raise click.UsageError("say which: POD or pod/POD")

    async def stream(kube: Kube) -> None:
        chunks = kube.logs(
            name,
            namespace=namespace or kube.access.namespace,
            container=container,
            follow=follow,
            previous=previous,
            timestamps=timestamps,
            tail_lines=tail,
        )
        async for chunk in chunks:
            sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()

    run(stream)


@click.command("delete")
@click.argument("what", required=False)
@click.argument("names", nargs=-1)
@click.option(
    "-f",
    "files",
    multiple=True,
    type=click.Path(exists=True),
    metavar="FILE|DIR",
    help="The objects of these manifests.",
)
@click.option("--ignore-not-found", is_flag=True, help="An object that is not there is no failure.")
@namespace_option
def delete_command(
    what: str | None, names: tuple[str, ...], files: tuple[str, ...], namespace: str | None, *, ignore_not_found: bool
) -> None:
    """Delete objects.

    \b
    Examples:
      slipway delete sdep yolo
      slipway delete sdep/yolo
      slipway delete -f deployment.yaml
    """  # noqa: D301  - click reads the backspace character
    if what and "/" in what and not names:
        what, _, one = what.partition("/")
        names = (one,)
    if bool(what and all(names) and names) == bool(files):
        raise click.UsageError("say what to delete: KIND NAME, KIND/NAME or -f FILE")
    try:
        objects = [obj for name in files for obj in load_manifests(Path(name))]
    except KubeError as exc:
        raise Failure(str(exc)) from exc

    async def delete(kube: Kube) -> None:
        served = await discover(kube)
        if what:
            kind = find_kind(served, what)
            wanted = [(kind, namespace, name) for name in names]
        else:
            wanted = [
                (kind_of_manifest(served, obj), obj["metadata"].get("namespace") or namespace, obj["metadata"]["name"])
                for obj in reversed(objects)
            ]
        for kind, place, name in wanted:
            await _delete(kube, kind, name, namespace=place, ignore_not_found=ignore_not_found)

    run(delete)


async def _delete(kube: Kube, kind: Kind, name: str, *, namespace: str | None, ignore_not_found: bool) -> None:
    place = (namespace or kube.access.namespace) if kind.namespaced else None
    try:
        await kube.delete(kind, name, namespace=place, propagation="Background")
    except NotFound:
        if not ignore_not_found:
            raise
        return
    click.echo(f"{kind.kind.lower()}/{name} deleted")
