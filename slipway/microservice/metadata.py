"""A component's metadata: defaults from its image, its own, and the variable MODEL_METADATA, checked."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import yaml
from google.protobuf import json_format

from slipway.contract.protos import prediction_pb2 as pb
from slipway.microservice.component import Component, HookMissingError
from slipway.microservice.custom_metrics import split_image
from slipway.serving.errors import ServingError

BAD_METADATA = "MICROSERVICE_BAD_METADATA"
DATA_TYPES = frozenset(
    ["BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64", "BYTES"]
)
_FIELDS = frozenset({"name", "versions", "platform", "inputs", "outputs", "custom"})
_ARRAYS = frozenset({"tensor", "ndarray", "tftensor"})
_BARE = frozenset({"strData", "binData"})

logger = logging.getLogger(__name__)


class MetadataError(Exception):
    """Metadata that does not fit; the text names the field."""


def read_metadata(component: Component, *, image: str, override: str) -> dict[str, Any]:
    """``init_metadata()`` over the image's name and tag, ``override`` (YAML or JSON) over both.

    Raises MetadataError when the result does not fit. As in Seldon, a result of ``init_metadata`` that is no dict and
    an unreadable ``override`` count as empty; both are logged.
    """
    try:
        own = component.call("init_metadata")
    except HookMissingError:
        own = {}
    if not isinstance(own, dict):
        logger.error("init_metadata returned %s, not a dict: ignored", type(own).__name__)
        own = {}
    name, tag = split_image(image)
    defaults = {"name": name, "versions": [tag], "platform": "", "inputs": [], "outputs": [], "custom": {}}
    merged = {**defaults, **own, **_parse_override(override)}
    check_metadata(merged)
    return merged


def _parse_override(text: str) -> dict[str, Any]:
    try:
        parsed = yaml.safe_load(text) if text else {}
    except yaml.YAMLError as exc:
        logger.error("MODEL_METADATA is not YAML: ignored: %s", exc)  # noqa: TRY400 - the user's text, not our fault
        return {}
    if not isinstance(parsed, dict):
        logger.error("MODEL_METADATA is %s, not an object: ignored", type(parsed).__name__)
        return {}
    return parsed


def check_metadata(metadata: Mapping[str, Any]) -> None:
    """Raises MetadataError for what Seldon's own schema refuses."""
    _no_others(metadata, _FIELDS, "metadata")
    for field in ("name", "platform"):
        _want(isinstance(metadata[field], str), field, "a string")
    _want(_is_list_of(metadata["versions"], str), "versions", "a list of strings (quote numbers)")
    custom = metadata["custom"]
    _want(isinstance(custom, Mapping) and _is_list_of(list(custom.values()), str), "custom", "an object of strings")
    for side in ("inputs", "outputs"):
        _want(isinstance(metadata[side], list), side, "a list")
        for index, entry in enumerate(metadata[side]):
            _want(isinstance(entry, Mapping), f"{side}[{index}]", "an object")
            _check_entry(entry, f"{side}[{index}]")


def _check_entry(entry: Mapping[str, Any], where: str) -> None:
    if "messagetype" in entry:
        _check_message(entry, where)
        return
    _no_others(entry, frozenset({"name", "datatype", "shape"}), where)
    _want(isinstance(entry.get("name", ""), str), f"{where}.name", "a string")
    _want(entry.get("datatype", "BOOL") in DATA_TYPES, f"{where}.datatype", f"one of {', '.join(sorted(DATA_TYPES))}")
    _want(_is_list_of(entry.get("shape", []), int), f"{where}.shape", "a list of integers")


def _check_message(entry: Mapping[str, Any], where: str) -> None:
    kind, schema = entry["messagetype"], entry.get("schema", {})
    _want(isinstance(kind, str), f"{where}.messagetype", "a string")
    _no_others(entry, frozenset({"messagetype"} if kind in _BARE else {"messagetype", "schema"}), where)
    _want(isinstance(schema, Mapping), f"{where}.schema", "an object")
    if kind in _ARRAYS:
        _no_others(schema, frozenset({"names", "shape"}), f"{where}.schema")
        _want(_is_list_of(schema.get("names", []), str), f"{where}.schema.names", "a list of strings")
        _want(_is_list_of(schema.get("shape", []), int), f"{where}.schema.shape", "a list of integers")


def _is_list_of(value: Any, kind: type) -> bool:
    return isinstance(value, list) and all(isinstance(one, kind) and not isinstance(one, bool) for one in value)


def _no_others(found: Mapping[str, Any], known: frozenset[str], where: str) -> None:
    if others := sorted(map(str, found.keys() - known)):
        raise MetadataError(f"{where}: {', '.join(others)} is not one of {', '.join(sorted(known))}")


def _want(holds: bool, where: str, wanted: str) -> None:
    if not holds:
        raise MetadataError(f"{where} is not {wanted}")


def metadata_unavailable(why: str) -> ServingError:
    return ServingError(f"Model metadata unavailable: {why}", status_code=500, reason=BAD_METADATA)


def metadata_to_proto(metadata: Mapping[str, Any]) -> pb.SeldonModelMetadata:
    """The gRPC form."""
    return json_format.ParseDict(dict(metadata), pb.SeldonModelMetadata(), ignore_unknown_fields=True)
