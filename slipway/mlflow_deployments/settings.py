"""What ``-C key=value`` may say: one table, which parsing and ``mlflow deployments help`` read."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import slipway
from slipway.mlflow_deployments.errors import invalid

GATEWAY_VARIABLE = "SLIPWAY_GATEWAY"
GATEWAY = "http://127.0.0.1:8080"
WAIT_S = 300.0
MAX_WAIT_S = 3600.0
MAX_REPLICAS = 100
_SIZE = re.compile(r"[1-9][0-9]{0,3}x[1-9][0-9]{0,3}")


@dataclass(frozen=True)
class Key:
    """One key: what it may be in words, its sentence for the help, and how its value is read."""

    values: str
    sentence: str
    read: Callable[[Any], Any]


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError
    return value


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    return {"true": True, "false": False}[str(value).lower()]


def _whole(low: int, high: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        number = int(value)
        if isinstance(value, bool) or number != float(value) or not low <= number <= high:
            raise ValueError
        return number

    return read


def _number(low: float, high: float) -> Callable[[Any], float]:
    def read(value: Any) -> float:
        number = float(value)
        if isinstance(value, bool) or not low <= number <= high:
            raise ValueError
        return number

    return read


def _one_of(*choices: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        return choices[choices.index(value)]

    return read


def read_size(value: Any) -> str:
    """``WIDTHxHEIGHT``; ValueError otherwise."""
    if not isinstance(value, str) or not _SIZE.fullmatch(value):
        raise ValueError
    return value


KEYS: Mapping[str, Key] = {
    "namespace": Key("a name", "Where the SeldonDeployment is; default the context's own.", _text),
    "traffic": Key("0 to 100", "update: percent for the predictor `canary`, which -m adds.", _whole(0, 100)),
    "promote": Key(
        "true", "update: the canary's model goes to `stable`, by its alias if followed; the canary goes.", _flag
    ),
    "rollback": Key(
        "true", "update: what follows an alias serves the version before, and the alias moves back.", _flag
    ),
    "why": Key("a sentence", "The reason of promote or rollback, for those who read the history.", _text),
    "predictor": Key("a name", "update: the one to change; delete: remove only this one.", _text),
    "follow": Key("true, false", "Roll out by itself when the alias in -m moves.", _flag),
    "replicas": Key(f"1 to {MAX_REPLICAS}", "Pods of each predictor; default 1.", _whole(1, MAX_REPLICAS)),
    "input": Key("WIDTHxHEIGHT", "The network's input, where the model does not say it.", read_size),
    "confidence": Key("0 to 1", "A class counts above it; default 0.25.", _number(0, 1)),
    "iou": Key("0 to 1", "NMS drops what overlaps a better box by more; default 0.45.", _number(0, 1)),
    "engine": Key(
        "auto, onnxruntime, opencv, openvino or darknet",
        "What runs the network; default auto.",
        _one_of("auto", "onnxruntime", "opencv", "openvino", "darknet"),
    ),
    "tag": Key("a tag", f"Of the images; default {slipway.__version__}.", _text),
    "wait": Key("true, false", "Return when it is Available; default true.", _flag),
    "timeout_s": Key(f"1 to {MAX_WAIT_S:g}", f"How long to wait; default {WAIT_S:g}.", _number(1, MAX_WAIT_S)),
    "force": Key("true, false", "Take over fields that another field manager owns.", _flag),
}


@dataclass(frozen=True)
class DeploySettings:
    """A parsed configuration; None where a key was not given."""

    namespace: str | None = None
    traffic: int | None = None
    promote: bool = False
    rollback: bool = False
    why: str = ""
    predictor: str | None = None
    follow: bool | None = None
    replicas: int | None = None
    input: str | None = None
    confidence: float | None = None
    iou: float | None = None
    engine: str | None = None
    tag: str = slipway.__version__
    wait: bool = True
    timeout_s: float = WAIT_S
    force: bool = False

    @property
    def detector_parameters(self) -> dict[str, tuple[str, str]]:
        """Name → (value, type) of what was given for the detector."""
        given = {
            "confidence": (self.confidence, "FLOAT"),
            "iou": (self.iou, "FLOAT"),
            "engine": (self.engine, "STRING"),
        }
        return {name: (str(value), kind) for name, (value, kind) in given.items() if value is not None}


def parse_config(config: Mapping[str, Any] | None, *, endpoint: str | None = None) -> DeploySettings:
    """From ``-C`` texts or from Python values; MLflow's ``endpoint`` is the namespace.

    Raises:
        DeploymentError: an unknown key, a value that makes no sense, two namespaces.
    """
    given = dict(config or {})
    if endpoint:
        if given.get("namespace") not in (None, endpoint):
            raise invalid(f"endpoint {endpoint!r} and namespace {given['namespace']!r}: give one of them")
        given["namespace"] = endpoint
    read: dict[str, Any] = {}
    for name, value in given.items():
        key = KEYS.get(name)
        if key is None:
            raise invalid(f"-C {name}: no such key; there are {', '.join(KEYS)}")
        try:
            read[name] = key.read(value)
        except (ValueError, KeyError, TypeError, OverflowError) as exc:
            raise invalid(f"-C {name}={value}: expected {key.values}") from exc
    return DeploySettings(**read)


def gateway(env: Mapping[str, str] | None = None) -> str:
    """``http://host:port`` of SLIPWAY_GATEWAY, which may leave the scheme out."""
    address = (os.environ if env is None else env).get(GATEWAY_VARIABLE) or GATEWAY
    return (address if "://" in address else f"http://{address}").rstrip("/")


def table() -> str:
    """The keys, for the help."""
    width = max(map(len, KEYS))
    return "\n".join(f"  {name:<{width}}  {key.sentence} ({key.values})" for name, key in KEYS.items())
