"""A model into MLflow: proved first, then logged, registered as a version, and told about in the version's tags."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_wrappers.darknet.errors import DarknetError
from model_wrappers.mlflow_darknet.alias_record import ALIAS_TAG, check_author, present_user, render_record
from model_wrappers.mlflow_darknet.layout import (
    FLAVOR_NAME,
    LOADER_MODULE,
    PROOF_FOLDER,
    SourceFiles,
    check_file_names,
)
from model_wrappers.model_sums import SUMS_NAME, digest_of_sums, parse_sums, read_sums

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from mlflow.models.model import ModelInfo

    from model_wrappers.darknet.proof import Proof
    from model_wrappers.darknet.training.photos import PhotoSet
    from model_wrappers.drift import Reference

DIGEST_TAG = "slipway.digest"
LICENCE_TAG = "licence"
MAX_LABEL = 256
DEPLOYED_NAME = re.compile(rf"[^/@:]{{1,{MAX_LABEL}}}")
DEPLOYED_ALIAS = re.compile(rf"[A-Za-z0-9_-]{{1,{MAX_LABEL}}}")
"""As the platform reads ``models:/NAME@ALIAS`` (a test compares them): MLflow itself takes more."""
OWN_PREFIXES = ("slipway.", "sha256.", "proof.")  # of tags that are measured, not said


class RegistrationError(DarknetError):
    """A version that MLflow has and that lacks something; the text says what completes or removes it."""


def log_model(
    *,
    cfg: str | Path,
    weights: str | Path,
    names: str | Path,
    name: str = "model",
    registered_model_name: str | None = None,
    aliases: Sequence[str] = (),
    tags: Mapping[str, str] | None = None,
    licence: str = "",
    photos: Sequence[str | Path] = (),
    labelled: PhotoSet | None = None,
    int8_max_loss: float | None = None,
    drift_photos: Sequence[str | Path] = (),
    input_example: Any = None,
    metadata: Mapping[str, Any] | None = None,
    code_paths: Sequence[str | Path] | None = None,
    pip_requirements: Sequence[str] | None = None,
) -> ModelInfo:
    """Log the model to the current MLflow run (or to none) and, with a registered name, register a version.

    The version is tagged with its digest, each file's SHA-256 and what the proof says, described by the proof's summary, and
    pointed to by ``aliases`` before this returns. ``labelled`` and ``int8_max_loss`` are those of ``prove``,
    ``drift_photos`` that of ``save_model``.

    Raises:
        DarknetError, PhotoError, MlflowException: something is refused; MLflow knows of nothing then. Later: see ``_whole``.
    """
    files = SourceFiles(Path(cfg), Path(weights), Path(names))
    if isinstance(labelled, (str, Path)):
        raise DarknetError(
            f"labelled={str(labelled)!r}: photos are expected: load_voc(folder, 'test', names) reads a folder"
        )
    check_file_names(files)
    check_version_labels(registered_model_name, aliases, tags or {})
    shown = [Path(photo) for photo in photos]
    proof = _prove(files, photos=shown, licence=licence, labelled=labelled, int8_max_loss=int8_max_loss)
    extras = {"input_example": input_example, "code_paths": code_paths, "pip_requirements": pip_requirements}
    extras["drift_reference"] = _drift_reference(files, drift_photos)
    info = _log(files, proof, name, registered_model_name, metadata=dict(metadata) if metadata else None, **extras)
    if registered_model_name:
        version = str(info.registered_model_version)
        with _whole(registered_model_name, version):
            _label(registered_model_name, version, files, proof, tags=tags or {}, model_id=info.model_id)
        _point(registered_model_name, version, aliases)
    return info


def _prove(files: SourceFiles, **settings: Any) -> Proof:
    from model_wrappers.darknet.proof import prove

    return prove(*files, **settings)


def _drift_reference(files: SourceFiles, photos: Sequence[str | Path]) -> Reference | None:
    from model_wrappers.mlflow_darknet.saving import build_drift_reference

    return build_drift_reference(files, photos)


def _log(files: SourceFiles, proof: Proof, name: str, registered_name: str | None, **extras: Any) -> ModelInfo:
    """The model folder, by way of ``save_model``, into the artifact store, and perhaps a version of it."""
    from mlflow.models import Model

    from model_wrappers.mlflow_darknet.saving import check_extras

    check_extras(extras["code_paths"], extras["pip_requirements"])
    info: ModelInfo = Model.log(
        artifact_path=None,
        name=name,
        flavor=import_module(LOADER_MODULE),
        flavor_name=FLAVOR_NAME,
        registered_model_name=registered_name,
        **vars(files),
        licence=proof.licence,
        proof=proof,
        **extras,
    )
    return info


@contextmanager
def _whole(name: str, version: str) -> Iterator[None]:
    """A version gets all that belongs to it, or is deleted again.

    Raises:
        RegistrationError: neither was possible. Otherwise what was raised within.
    """
    import mlflow

    try:
        yield
    except BaseException as exc:  # an interrupt, too, leaves half a version
        try:
            mlflow.MlflowClient().delete_model_version(name, version)
        except mlflow.MlflowException as also:
            raise RegistrationError(
                f"models:/{name}/{version} is in MLflow without its digest and tags ({_line(exc)}), and could not be deleted "
                f"({_line(also)}): delete it with mlflow.MlflowClient().delete_model_version({name!r}, {version!r}), "
                "then register again"
            ) from exc
        raise


def _line(exc: BaseException) -> str:
    return " ".join(str(exc).split()) or type(exc).__name__


def _label(
    name: str, version: str, files: SourceFiles, proof: Proof, *, tags: Mapping[str, str], model_id: str
) -> None:
    _describe(name, version, proof, model_id)
    digests = {f"sha256.{kind}": proof.digests[path.name] for kind, path in vars(files).items()}
    tag_version(name, version, {**tags, **digests, **proof_tags(proof)})


def _point(name: str, version: str, aliases: Sequence[str]) -> None:
    """The version is whole by now, and an alias may be what is served: none of it is undone."""
    from mlflow.exceptions import MlflowException

    for alias in aliases:
        try:
            set_alias(name, alias, version, why="registered")
        except MlflowException as exc:
            raise RegistrationError(
                f"models:/{name}/{version} is registered, but alias {alias!r} could not be moved to it ({_line(exc)}): "
                f"move it with model_wrappers.mlflow_darknet.set_alias({name!r}, {alias!r}, {version!r})"
            ) from exc


def check_version_labels(name: str | None, aliases: Sequence[str], tags: Mapping[str, str]) -> None:
    """Refuse, before anything is logged, what MLflow would refuse once the version is there, and what could not be deployed.

    Raises:
        MlflowException: a bad name, alias or tag; one without a registered name; a tag whose value is measured.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.utils.validation import (
        _validate_model_alias_name,
        _validate_model_alias_name_reserved,
        _validate_model_name,
        _validate_model_version_tag,
    )

    if name is None:
        if aliases or tags:
            raise MlflowException.invalid_parameter_value(
                "aliases and tags are a version's: registered_model_name is missing"
            )
        return
    _validate_model_name(name)
    if not (DEPLOYED_NAME.fullmatch(name) and name.isprintable()):
        raise MlflowException.invalid_parameter_value(
            f"{name[:MAX_LABEL]!r}: models:/NAME@ALIAS could not be read: 1 to {MAX_LABEL} printable characters, no @, are expected"
        )
    for alias in aliases:
        if not DEPLOYED_ALIAS.fullmatch(alias):
            raise MlflowException.invalid_parameter_value(
                f"Invalid alias name: {alias[:MAX_LABEL]!r}: 1 to {MAX_LABEL} of a-z, A-Z, 0-9, _ and - are expected"
            )
        _validate_model_alias_name(alias)  # type: ignore[no-untyped-call]
        _validate_model_alias_name_reserved(alias)  # type: ignore[no-untyped-call]
    for key, value in tags.items():
        _validate_model_version_tag(key, value)  # type: ignore[no-untyped-call]
        if key == LICENCE_TAG or key.startswith(OWN_PREFIXES):
            raise MlflowException.invalid_parameter_value(
                f"tag {key!r} is set by the registration itself: name it otherwise"
            )


def proof_tags(proof: Proof) -> dict[str, str]:
    """What ``slipway model show`` prints of a proof."""
    from model_wrappers.darknet.proof_report import REPORT_NAME
    from model_wrappers.darknet.timing import TOLERANCE, ranked

    worst = proof.worst.difference
    timings = ranked(proof.timings)
    return {
        "proof.parity": f"{len(proof.layers)} layers, worst {worst:.1e} of {TOLERANCE:g} allowed, on {proof.compared_on}",
        "proof.engine": proof.engine,
        "proof.engines": ", ".join(f"{one.engine} {one.milliseconds:.1f} ms" for one in timings),
        "proof.machine": f"{proof.machine}, {proof.threads} threads",
        "proof.report": f"{PROOF_FOLDER}/{REPORT_NAME}",
        LICENCE_TAG: proof.licence,
    }


def tag_version(name: str, version: str, tags: Mapping[str, str]) -> str:
    """Read a version's SHA256SUMS back from the artifact store and store its digest, and ``tags``, as version tags.

    Returns the digest, ``sha256:<hex>``.

    Raises:
        MlflowException: there is no such version, or no SHA256SUMS in it. SumsError: the file is none.
    """
    import mlflow

    client = mlflow.MlflowClient()
    source = client.get_model_version_download_uri(name, version)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(mlflow.artifacts.download_artifacts(f"{source.rstrip('/')}/{SUMS_NAME}", dst_path=folder))
        sums = read_sums(path)
        parse_sums(sums, path=path)
    digest = digest_of_sums(sums)
    for key, value in {**tags, DIGEST_TAG: digest}.items():  # the digest last: it says the rest is there
        if value:
            client.set_model_version_tag(name, version, key, value)
    return digest


def _describe(name: str, version: str, proof: Proof, model_id: str) -> None:
    """The version's page shows no artifacts: the link leads to the page of MLflow's that does."""
    import mlflow

    from model_wrappers.darknet.proof_report import REPORT_NAME
    from model_wrappers.darknet.proof_summary import render_summary

    client = mlflow.MlflowClient()
    experiment = client.get_logged_model(model_id).experiment_id
    report = f"[{PROOF_FOLDER}/{REPORT_NAME}](#/experiments/{experiment}/models/{model_id}/artifacts)"
    client.update_model_version(name, version, description=render_summary(proof, report=report))


def set_alias(name: str, alias: str, version: str, *, who: str = "", why: str = "") -> str | None:
    """Point ``alias`` at a version, and record who does it and why; the version that it pointed at before.

    ``who`` is the present user unless it is said. As ``slipway model promote`` does it, the record is written first: whoever
    follows the alias never sees a move without its reason. Where the move is refused, the earlier record is put back.

    Raises:
        MlflowException: there is no such model or version, the alias is a reserved word, or the record is too long.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    author = who or present_user()
    check_version_labels(name, [alias], {})
    check_author(who=author, why=why)
    client = mlflow.MlflowClient()
    number = str(client.get_model_version(name, version).version)
    model = client.get_registered_model(name)
    before = dict(model.aliases).get(alias)
    key = f"{ALIAS_TAG}{alias}"
    record = render_record(
        version=number, before=None if before is None else str(before), who=author, why=why, at=datetime.now(UTC)
    )
    client.set_registered_model_tag(name, key, record)
    try:
        client.set_registered_model_alias(name, alias, number)
    except MlflowException as exc:
        _put_back(client, name, key, model.tags.get(key), because=exc)
        raise
    return None if before is None else str(before)


def _put_back(client: MlflowClient, name: str, key: str, record: str | None, *, because: MlflowException) -> None:
    """A record of a version that the alias does not name says nothing, so that nothing is wrong where this fails too."""
    from mlflow.exceptions import MlflowException

    try:
        if record is None:
            client.delete_registered_model_tag(name, key)
        else:
            client.set_registered_model_tag(name, key, record)
    except MlflowException as exc:
        because.add_note(f"the tag {key} of models:/{name} still tells of this move: {_line(exc)}")
