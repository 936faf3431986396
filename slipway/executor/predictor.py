"""Where the predictor comes from: a JSON file (followed), ENGINE_PREDICTOR, or a SeldonDeployment's YAML."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from slipway.contract.defaulting import default
from slipway.contract.predictor_servers import SHIPPED
from slipway.contract.sdep import KIND, PredictorSpec, SeldonDeployment
from slipway.executor.compile import compile_graph
from slipway.executor.errors import GraphError
from slipway.executor.graph import Graph
from slipway.executor.limits import MAX_PREDICTOR_BYTES, PREDICTOR_POLL_S
from slipway.executor.settings import ENGINE_PREDICTOR, PROTOCOLS, Settings
from slipway.serving.errors import one_line

LOG = logging.getLogger(__name__)
Adopt = Callable[[Graph], Awaitable[list[str]]]
MALFORMED = (ValueError, RecursionError)
"""What a document of the wrong shape raises when it is read into types."""
Stamp = tuple[int, int, int]
SPEC_FIELDS = frozenset({"name", "predictors", "protocol", "transport", "serverType", "replicas", "annotations"})
"""Of a SeldonDeployment (contract §1.1), less the legacy ones without a meaning."""
MAX_TOLD_FIELDS = 20


def load_spec(settings: Settings) -> PredictorSpec:
    """The predictor to run, from the first of --predictor-file, --file and ENGINE_PREDICTOR that is given.

    Fields that nothing here reads are named in the log, as the Kubernetes API warns of those that it does not know.

    Raises:
        GraphError: there is none, or it cannot be read.
    """
    if settings.predictor_file is not None:
        return _told_predictor(_read(settings.predictor_file), where=str(settings.predictor_file))
    if settings.manifest is not None:
        return _from_manifest(settings.manifest, predictor=settings.predictor)
    if settings.engine_predictor:
        return _told_predictor(_decoded(settings.engine_predictor), where=ENGINE_PREDICTOR)
    raise GraphError(f"no predictor: give --predictor-file, --file or the variable {ENGINE_PREDICTOR}")


def completed(settings: Settings) -> Settings:
    """The settings with what --file says where no flag does: protocol, and the names of the deployment.

    Raises:
        GraphError: the manifest cannot be read, names a protocol that is none, or wants Kafka.
    """
    if settings.manifest is None or settings.predictor_file is not None:
        return replace(settings, protocol=settings.protocol or "seldon")
    deployment = _deployment(settings.manifest)
    if deployment.protocol not in PROTOCOLS:
        known = ", ".join(PROTOCOLS)
        raise GraphError(f"{settings.manifest}: spec.protocol: {deployment.protocol!r} is not one of {known}")
    if deployment.server_type not in ("", "rpc"):
        text = f"{deployment.server_type!r}: this executor answers REST and gRPC, it reads no Kafka topic; leave it out"
        raise GraphError(f"{settings.manifest}: spec.serverType: {text}")
    return replace(
        settings,
        protocol=settings.protocol or deployment.protocol,
        deployment=settings.deployment or deployment.name,
        namespace=settings.namespace or deployment.namespace,
    )


def parse_predictor(text: bytes, *, where: str) -> PredictorSpec:
    """The JSON of a defaulted PredictorSpec.

    Raises:
        GraphError: it is not one.
    """
    try:
        return PredictorSpec.from_json(json.loads(text))
    except MALFORMED as error:
        raise GraphError(f"{where}: not the JSON of a predictor: {error}") from error


class PredictorFile:
    """A predictor file that may be replaced at any time, as the kubelet replaces a ConfigMap's files: by a rename."""

    def __init__(self, path: Path, *, poll_s: float = PREDICTOR_POLL_S, log_url: str = "") -> None:
        self._path = path
        self._log_url = log_url
        self._poll_s = poll_s
        self._seen: Stamp | None = None  # the first look finds what was loaded before, or what replaced it since

    async def follow(self, adopt: Adopt) -> None:
        """Give every new graph to ``adopt`` until it is taken; a broken file is logged and the old graph stays."""
        while True:
            await asyncio.sleep(self._poll_s)
            stamp = stamp_of(self._path)
            if stamp is None or stamp == self._seen:
                continue
            if await self._offer(adopt):
                self._seen = stamp

    async def _offer(self, adopt: Adopt) -> bool:
        """Whether this content is done with: taken, or broken for good."""
        try:
            spec = parse_predictor(_read(self._path), where=str(self._path))
            graph = compile_graph(spec, log_url=self._log_url)
        except GraphError as error:
            LOG.error("the old graph stays: %s", error)  # noqa: TRY400 - the text says it all
            return True
        if problems := await adopt(graph):
            LOG.warning("%s: the old graph stays until its nodes answer: %s", self._path, "; ".join(problems))
            return False
        return True


def stamp_of(path: Path) -> Stamp | None:
    """What changes when a file is replaced or rewritten; None while there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            text = file.read(MAX_PREDICTOR_BYTES + 1)
    except OSError as error:
        raise GraphError(f"{path}: {error.strerror}") from error
    if len(text) > MAX_PREDICTOR_BYTES:
        raise GraphError(f"{path}: larger than {MAX_PREDICTOR_BYTES} bytes")
    return text


def _told_predictor(text: bytes, *, where: str) -> PredictorSpec:
    spec = parse_predictor(text, where=where)
    _tell(where, unread(json.loads(text), spec.to_json(), "predictor"))
    return spec


def unread(given: Any, read: Any, path: str) -> Iterator[str]:
    """Where a document says what its typed form ``read`` has not; what is empty there says nothing."""
    if isinstance(given, Mapping) and isinstance(read, Mapping):
        for key, value in given.items():
            if key in read:
                yield from unread(value, read[key], f"{path}.{key}")
            elif value:
                yield f"{path}.{key}"
    elif isinstance(given, list) and isinstance(read, list):
        for place, (one, other) in enumerate(zip(given, read, strict=False)):
            yield from unread(one, other, f"{path}[{place}]")


def _tell(where: str, fields: Iterator[str]) -> None:
    if found := [one_line(field) for field in fields]:
        more = f" and {len(found) - MAX_TOLD_FIELDS} more" if len(found) > MAX_TOLD_FIELDS else ""
        LOG.warning("%s: nothing here reads %s%s", where, ", ".join(found[:MAX_TOLD_FIELDS]), more)


def _deployment(path: Path, *, tells: bool = False) -> SeldonDeployment:
    try:
        documents = [document for document in yaml.safe_load_all(_read(path)) if document is not None]
    except (yaml.YAMLError, *MALFORMED) as error:
        raise GraphError(f"{path}: no YAML: {' '.join(str(error).split())}") from error
    found = [one for one in documents if isinstance(one, dict) and one.get("kind") == KIND]
    if len(found) != 1:
        raise GraphError(f"{path}: {len(found)} SeldonDeployments among {len(documents)} documents, expected one")
    try:
        deployment = SeldonDeployment.from_json(found[0])
        if tells:
            read = {**dict.fromkeys(SPEC_FIELDS), "predictors": [one.to_json() for one in deployment.predictors]}
            _tell(str(path), unread(found[0]["spec"], read, "spec"))
        return default(deployment, predictor_servers=SHIPPED)
    except MALFORMED as error:
        raise GraphError(f"{path}: {error}") from error


def _from_manifest(path: Path, *, predictor: str) -> PredictorSpec:
    deployment = _deployment(path, tells=True)
    found = {spec.name: spec for spec in deployment.predictors}
    chosen = next(iter(found.values())) if not predictor and len(found) == 1 else found.get(predictor)
    if chosen is None:
        raise GraphError(f"{path}: --predictor {predictor or '(none)'}: the file has {', '.join(found) or 'none'}")
    return replace(chosen, annotations={**deployment.annotations, **chosen.annotations})  # as a Pod gets both


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise GraphError(f"{ENGINE_PREDICTOR}: not base64: {error}") from error
