"""``slipway image``: build, list, delete and prune the local images of this machine; contexts of container images."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from slipway.onebox.images.build import build
from slipway.onebox.images.context import write_context
from slipway.onebox.images.errors import ImageError, InvalidReference
from slipway.onebox.images.reference import parse_reference
from slipway.onebox.images.store import Store, Tagged
from slipway.onebox.paths import Paths

NONE = "-"


class NameTag(click.ParamType[str]):
    """The name of a local image with its tag."""

    name = "NAME:TAG"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Raises BadParameter."""
        try:
            digest = parse_reference(value).digest
        except InvalidReference as exc:
            self.fail(str(exc), param, ctx)
        if digest:
            self.fail(f"{value!r}: a digest comes out of a build, it is not chosen: give NAME:TAG", param, ctx)
        return value


@click.group(name="image")
def image_command() -> None:
    """Build and list local images.

    \b
    Examples:
      slipway image build slipway/yolo-detector:0.1.0
      slipway image build me/my-model:2 images/my-model
      slipway image context me/my-model:2 build/my-model images/my-model
      slipway image list
    """  # noqa: D301  - click reads the backspace character


@image_command.command(name="build")
@click.argument("name_tag", metavar="NAME:TAG", type=NameTag())
@click.argument("folder", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--quiet", "-q", is_flag=True, help="Print the digest only.")
def build_command(name_tag: str, folder: Path | None, *, quiet: bool) -> None:
    """Snapshot the sources of an image.yaml and move NAME:TAG to the result.

    FOLDER holds the image.yaml; without it, the folder below images/ whose image.yaml has this NAME.
    What runs keeps the digest it was created with.

    \b
    Examples:
      slipway image build slipway/yolo-detector:0.1.0
      slipway image build me/my-model:2 ~/my-model
    """  # noqa: D301  - click reads the backspace character
    try:
        digest = build(
            name_tag,
            paths=Paths.from_env(),
            folder=folder,
            progress=lambda line: None if quiet else click.echo(line, err=True),
        )
    except ImageError as exc:
        raise click.ClickException(str(exc)) from exc
    click.echo(digest)


@image_command.command(name="context")
@click.argument("name_tag", metavar="NAME:TAG", type=NameTag())
@click.argument("target", metavar="DIR", type=click.Path(path_type=Path))
@click.argument("folder", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="A label more. May be repeated.")
def context_command(name_tag: str, target: Path, folder: Path | None, labels: Sequence[str]) -> None:
    """Write into DIR what Docker, Podman or another builder makes a container image of, from the same image.yaml.

    DIR is empty or does not exist. FOLDER holds the image.yaml; without it, the folder below images/ whose image.yaml has
    this NAME. The files are those of `slipway image build`; the label dev.slipway.files is their digest.

    \b
    Examples:
      slipway image context me/my-model:2 build/my-model ~/my-model
      docker build --tag me/my-model:2 build/my-model
    """  # noqa: D301  - click reads the backspace character
    pairs = [item.partition("=") for item in labels]
    if wrong := [item for item, (key, equals, _) in zip(labels, pairs, strict=True) if not (key and equals)]:
        raise click.UsageError(f"--label {wrong[0]!r}: KEY=VALUE is needed")
    try:
        written = write_context(name_tag, target, folder=folder, labels={key: value for key, _, value in pairs})
    except ImageError as exc:
        raise click.ClickException(str(exc)) from exc
    click.echo(f"{written.folder}: {written.name_tag}, files {written.files_digest}")


@image_command.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")
def list_command(*, as_json: bool) -> None:
    """List tags with their digest, size, age and the Pods that run them.

    A digest without a tag is shown with the tag `-`: its tag moved on, or was deleted.

    \b
    Examples:
      slipway image list
      slipway image list --json | jq -r '.[].digest'
    """  # noqa: D301  - click reads the backspace character
    rows = Store(Paths.from_env()).rows()
    if as_json:
        click.echo(
            json.dumps([{**asdict(row.image), "tag": row.tag, "pods": list(row.pods)} for row in rows], indent=2)
        )
        return
    header = ("NAME", "TAG", "DIGEST", "SIZE", "CREATED", "PODS")
    _print_table([header, *(_cells(row) for row in rows)])


@image_command.command(name="delete")
@click.argument("name_tag", metavar="NAME:TAG", type=NameTag())
def delete_command(name_tag: str) -> None:
    """Remove a tag. Its digest stays until `slipway image prune`.

    \b
    Example:
      slipway image delete slipway/yolo-detector:0.1.0
    """  # noqa: D301  - click reads the backspace character
    try:
        Store(Paths.from_env()).untag(name_tag)
    except ImageError as exc:
        raise click.ClickException(str(exc)) from exc
    click.echo(f"untagged {name_tag}")


@image_command.command(name="prune")
def prune_command() -> None:
    """Remove images that neither a tag nor a Pod refers to, and their Python environments.

    \b
    Example:
      slipway image prune
    """  # noqa: D301  - click reads the backspace character
    gone = Store(Paths.from_env()).prune(progress=lambda line: click.echo(line, err=True))
    for image in gone:
        click.echo(f"removed {image.name} {image.digest}")
    click.echo(f"{len(gone)} images removed")


def _cells(row: Tagged) -> tuple[str, ...]:
    return (
        row.name,
        row.tag or NONE,
        row.image.digest.removeprefix("sha256:")[:12],
        f"{row.image.size_bytes / 1024:.0f} KiB",
        row.image.created,
        ", ".join(row.pods) or NONE,
    )


def _print_table(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
