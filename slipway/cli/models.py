"""``slipway model``: versions in the registry, public models by digest."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from slipway.cli.promote import PromotionFailed, point_alias, promote, render_move
from slipway.cli.usage import WrongUse
from slipway.onebox.paths import Paths
from slipway.onebox.services.credentials import load_model_credentials
from slipway.registry import present_user, without_login

if TYPE_CHECKING:
    from model_wrappers.darknet import NetworkSummary
    from model_wrappers.darknet.training.voc import VocPhotos

NOT_READY = 3
CONNECT_TIMEOUT_S = 3.0
CLIENT_SETTINGS = {
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",  # seconds
}


@click.group("model")
def model_command() -> None:
    """Register, list and pull model versions.

    \b
    Examples:
      slipway model register yolo --cfg yolov3.cfg --weights yolov3.weights --names coco.names --alias champion
      slipway model list
      slipway model promote yolo 3 --alias champion --why "mAP 0.91"
      slipway model pull yolov3-tiny
    """  # noqa: D301  - click reads the backspace character


model_command.add_command(promote)


class RegistryNotReady(click.ClickException):
    """The registry is not there."""

    exit_code = NOT_READY


def _client() -> Any:
    """MLflow's client, logged in with this platform's credentials unless the environment names another server.

    Raises:
        RegistryNotReady: nobody answers there; MLflow's client would try for minutes.
    """
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        paths = Paths.from_env()
        if not paths.mlflow_env.exists():
            raise RegistryNotReady(f"no platform at {paths.home}: `slipway up` starts one, SLIPWAY_HOME names another")
        os.environ.update(load_model_credentials(paths))
    for name, value in CLIENT_SETTINGS.items():
        os.environ.setdefault(name, value)
    address = os.environ["MLFLOW_TRACKING_URI"]
    if address.startswith(("http://", "https://")):
        _refuse_silence(address)
    from mlflow import MlflowClient  # seconds to import: only the commands that need it pay
    from mlflow.utils.logging_utils import MLFLOW_LOGGING_STREAM

    # What it tells of each step would drown our lines; its errors are exceptions.
    MLFLOW_LOGGING_STREAM.enabled = bool(click.get_current_context().find_root().params.get("debug"))
    return MlflowClient()


def _refuse_silence(address: str) -> None:
    url = urlsplit(address)
    port = url.port or (443 if url.scheme == "https" else 80)
    try:
        socket.create_connection((url.hostname or "", port), CONNECT_TIMEOUT_S).close()
    except OSError as exc:
        raise RegistryNotReady(
            f"the registry at {without_login(address)[0]} does not answer ({exc.strerror or exc}): "
            "is it up? `slipway status` tells, `slipway up` starts it"
        ) from exc


@contextmanager
def _registry_errors(subject: str) -> Iterator[None]:
    """What MLflow or S3 refuse, as one line about ``subject``."""
    from boto3.exceptions import Boto3Error  # of an upload; below neither of botocore's
    from botocore.exceptions import BotoCoreError, ClientError
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as exc:
        raise click.ClickException(f"{subject}: {exc.message}") from exc
    except (Boto3Error, BotoCoreError, ClientError) as exc:
        raise click.ClickException(f"{subject}: S3: {exc}") from exc


@contextmanager
def _model_errors() -> Iterator[None]:
    """What is wrong with a model, a photo or a version, as one line."""
    from model_wrappers.darknet import DarknetError
    from model_wrappers.errors import ComponentError
    from model_wrappers.model_sums import SumsError

    try:
        yield
    except (DarknetError, ComponentError, SumsError) as exc:
        raise click.ClickException(str(exc)) from exc


@model_command.command()
@click.argument("name")
@click.option("--cfg", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--weights", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--names", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--alias", multiple=True, help="Point this alias at the new version; may be repeated.")
@click.option("--licence", default="", help="Licence of the weights, e.g. Apache-2.0.")
@click.option(
    "--photo",
    "photos",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A photo that the version's report shows with its boxes; may be repeated.",
)
@click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE", help="A tag of the version; may be repeated.")
@click.option(
    "--labelled",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Photos with known boxes, in Pascal VOC's form: 8 bits are tried on them, and their loss of mAP.",
)
@click.option("--split", default="test", show_default=True, help="Which of the labelled photos.")
@click.option(
    "--int8",
    "int8_max_loss",
    type=click.FloatRange(0, 1),
    metavar="MAX_LOSS",
    help="Of mAP, 0 to 1: engine auto may choose 8 bits that lose no more on the labelled photos.",
)
@click.option(
    "--drift-reference",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder of photos such as the model will be sent: DetectionDrift compares with what it sees there.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def register(
    name: str,
    cfg: Path,
    weights: Path,
    names: Path,
    alias: tuple[str, ...],
    licence: str,
    photos: tuple[Path, ...],
    tags: tuple[str, ...],
    labelled: Path | None,
    split: str,
    int8_max_loss: float | None,
    drift_reference: Path | None,
    as_json: bool,
) -> None:
    """Check a cfg, weights and names against each other and register them as a new version of NAME.

    \b
    Examples:
      slipway model register yolo --cfg yolov3.cfg --weights yolov3.weights --names coco.names --alias champion
      slipway model register yolo --cfg yolov3.cfg --weights voc.weights --names voc.names --labelled VOC2007 --int8 .005
      slipway model register yolo --cfg yolov3.cfg --weights voc.weights --names voc.names --drift-reference photos
    """  # noqa: D301  - click reads the backspace character
    from model_wrappers import mlflow_darknet

    if int8_max_loss is not None and labelled is None:
        raise click.UsageError("--int8: a loss is measured on labelled photos: --labelled names their folder")
    pairs = dict(_pair(tag) for tag in tags)
    _refuse_labels(name, alias, pairs)
    summary, labelled_photos = _check_files(cfg, weights, names, labelled=labelled, split=split)
    drift_photos = _drift_photos(drift_reference)
    client = _client()
    if not as_json:
        click.echo(f"{cfg.name}: {summary.width}x{summary.height}, {summary.classes} classes, strict load passed")
    said: dict[str, Any] = {"licence": licence, "tags": pairs, "registered_model_name": name}
    shown: dict[str, Any] = {"photos": photos, "labelled": labelled_photos, "int8_max_loss": int8_max_loss}
    shown["drift_photos"] = drift_photos
    with _registry_errors(name), _model_errors():
        info = mlflow_darknet.log_model(cfg=cfg, weights=weights, names=names, **said, **shown)
        version = str(info.registered_model_version)
        digest = client.get_model_version(name, version).tags[mlflow_darknet.DIGEST_TAG]
    _point_aliases(name, version, alias)
    if as_json:
        click.echo(json.dumps({"name": name, "version": version, "digest": digest, "aliases": list(alias)}))
    else:
        click.echo(f"registered models:/{name}/{version}  {digest}" + "".join(f"  @{each}" for each in alias))


def _refuse_labels(name: str, aliases: Sequence[str], tags: Mapping[str, str]) -> None:
    """Raises WrongUse for what MLflow takes from nobody."""
    from mlflow.exceptions import MlflowException

    from model_wrappers.mlflow_darknet.registration import check_version_labels

    try:
        check_version_labels(name, aliases, tags)
    except MlflowException as exc:
        raise WrongUse(f"{name}: {exc.message}") from exc


def _point_aliases(name: str, version: str, aliases: Sequence[str]) -> None:
    """As ``slipway model promote`` does it, with a record of who did it; the version is there whatever comes of it."""
    for alias in aliases:
        try:
            point_alias(name, alias, version, who=present_user(), why="registered")
        except (PromotionFailed, WrongUse) as error:
            raise type(error)(
                f"models:/{name}/{version} is registered, but alias {alias!r} was not moved to it ({error.message}): "
                f"run `slipway model promote {name} {version} --alias {alias}`"
            ) from error


def _check_files(
    cfg: Path, weights: Path, names: Path, *, labelled: Path | None, split: str
) -> tuple[NetworkSummary, VocPhotos | None]:
    """What can be refused without a registry."""
    from model_wrappers import darknet, mlflow_darknet
    from model_wrappers.darknet.names import load_names
    from model_wrappers.darknet.training.voc import load_voc

    with _model_errors():
        mlflow_darknet.check_file_names(mlflow_darknet.SourceFiles(cfg, weights, names))
        summary = darknet.check(cfg, weights, names)
        return summary, load_voc(labelled, split, load_names(names)) if labelled else None


def _drift_photos(folder: Path | None) -> list[Path]:
    from model_wrappers.drift import photos_in

    with _model_errors():
        return photos_in(folder) if folder else []


def _pair(tag: str) -> tuple[str, str]:
    key, separator, value = tag.partition("=")
    if not separator or not key:
        raise click.BadParameter(f"{tag!r}: write KEY=VALUE", param_hint="--tag")
    return key, value


def _versions(client: Any, name: str) -> list[Any]:
    """Every version of a model; the name is a value of MLflow's filter, whose texts know no escapes."""
    if "'" in name:
        raise click.BadParameter(f"{name!r}: the name of a model has no quote", param_hint="NAME")
    return _every(client.search_model_versions, filter_string=f"name='{name}'")


def _every(search: Callable[..., Any], **query: str) -> list[Any]:
    """All pages of a search."""
    found: list[Any] = []
    token = None
    while True:
        page = search(page_token=token, **query)
        found += page
        token = page.token
        if not token:
            return found


@model_command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def list_models(as_json: bool) -> None:
    """List every registered model with its versions and aliases.

    \b
    Example:
      slipway model list
    """  # noqa: D301  - click reads the backspace character
    client = _client()
    with _registry_errors("the registry"):
        rows = [
            {
                "name": model.name,
                "versions": sorted(int(v.version) for v in _versions(client, model.name)),
                "aliases": dict(sorted(model.aliases.items())),  # MLflow's order is its database's
            }
            for model in _every(client.search_registered_models)
        ]
    if as_json:
        click.echo(json.dumps(rows))
        return
    click.echo(f"{'NAME':<24}{'VERSIONS':<16}ALIASES")
    for row in rows:
        versions = ",".join(map(str, row["versions"]))
        click.echo(f"{row['name']:<24}{versions:<16}{', '.join(f'{a}→{v}' for a, v in row['aliases'].items())}")


@model_command.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def show(name: str, as_json: bool) -> None:
    """Show every version of NAME: digest, aliases, tags.

    \b
    Example:
      slipway model show yolo
    """  # noqa: D301  - click reads the backspace character
    client = _client()
    with _registry_errors(name):
        versions = sorted(_versions(client, name), key=lambda v: int(v.version))
        aliases = dict(client.get_registered_model(name).aliases) if versions else {}  # a search answers without them
    if not versions:
        raise click.ClickException(f"{name}: no such registered model (slipway model list shows them)")
    rows = [
        {
            "version": str(v.version),
            "aliases": sorted(alias for alias, version in aliases.items() if str(version) == str(v.version)),
            "tags": dict(v.tags),
            "source": v.source,
        }
        for v in versions
    ]
    if as_json:
        click.echo(json.dumps(rows))
        return
    for row in rows:
        click.echo(f"models:/{name}/{row['version']}" + "".join(f"  @{alias}" for alias in row["aliases"]))
        for key, value in sorted(row["tags"].items()):
            click.echo(f"  {key:<28}{value}")


@model_command.command()
@click.argument("name")
@click.argument("alias")
@click.argument("version")
def alias(name: str, alias: str, version: str) -> None:
    """Point ALIAS of NAME at VERSION: `slipway model promote` without a reason.

    \b
    Example:
      slipway model alias yolo champion 3
    """  # noqa: D301  - click reads the backspace character
    click.echo(render_move(point_alias(name, alias, version, who=present_user())))


@model_command.command()
@click.argument("name", required=False)
@click.option("--to", "folder", type=click.Path(path_type=Path), help="Where the files go; default models/NAME.")
@click.option("--from", "mirror", help="Another address for the folder that holds the files.")
def pull(name: str | None, folder: Path | None, mirror: str | None) -> None:
    """Download a public model whose digests are known, or list them without a NAME.

    \b
    Examples:
      slipway model pull
      slipway model pull yolov3-tiny --to /tmp/yolov3-tiny
    """  # noqa: D301  - click reads the backspace character
    from slipway.storage import catalog, download

    entries = catalog.load_catalog()
    if name is None:
        for entry in entries.values():
            click.echo(entry.name)
            for file in entry.files:
                click.echo(f"  {file.name:<30}{file.size_bytes:>12,}  sha256:{file.sha256}\n    {file.urls[0]}")
        return
    if name not in entries:
        raise click.ClickException(
            f"{name}: no digest is known for it, so it is not pulled (slipway model pull lists those that are known)"
        )
    target = folder or Path("models") / name
    for file in entries[name].files:
        urls = [f"{mirror.rstrip('/')}/{file.name}"] if mirror else list(file.urls)
        with click.progressbar(length=file.size_bytes, label=f"{file.name:<28}") as bar:
            try:
                download.download(file, urls, target / file.name, progress=bar.update)
            except download.DownloadError as exc:
                raise click.ClickException(str(exc)) from exc
    click.echo(f"{target}: every file has its digest")
