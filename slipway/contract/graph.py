"""The nodes of a predictor's graph (contract 1.3), typed inside and JSON at the edge."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from slipway.contract.fields import FieldError, Fields, read_text, without_empty
from slipway.contract.ip_addresses import is_ip_address
from slipway.contract.limits import MAX_PORT

MAX_DEPTH = 64
"""Levels of children; a request takes one level of calls each."""

NODE_TYPES = ("MODEL", "TRANSFORMER", "OUTPUT_TRANSFORMER", "ROUTER", "COMBINER", "UNKNOWN_TYPE")
METHODS = ("TRANSFORM_INPUT", "TRANSFORM_OUTPUT", "ROUTE", "AGGREGATE", "SEND_FEEDBACK")
UNKNOWN_IMPLEMENTATION = "UNKNOWN_IMPLEMENTATION"
RANDOM_ABTEST = "RANDOM_ABTEST"
BUILT_IN = frozenset({UNKNOWN_IMPLEMENTATION, "SIMPLE_MODEL", "SIMPLE_ROUTER", RANDOM_ABTEST, "AVERAGE_COMBINER"})
"""Implementations that are no prepackaged server."""
IN_NO_NAME = frozenset(',;"/')
"""Names of nodes and predictors are parts of headers and paths: besides these, they are of printable ASCII."""
IN_NO_HOST = frozenset("/\\@[]?#:%")
"""What would make another URL of a node's; an IPv6 address may have its colons."""
MAX_SHOWN_CHARS = 80


def is_host(text: str) -> bool:
    """Whether it can be an address or a name; empty is none given."""
    plain = text.isprintable() and " " not in text and not IN_NO_HOST & set(text)
    return plain or is_ip_address(text)


def name_fault(name: str) -> str:
    """What is wrong with a node's name, shown in full; empty for one that a header and a path can carry."""
    if name.isascii() and name.isprintable() and not IN_NO_NAME & set(name):
        return ""
    return f"{name[:MAX_SHOWN_CHARS]!r}: a name is of printable ASCII characters without {' '.join(sorted(IN_NO_NAME))}"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a node is called. A port is 0 where none is given."""

    service_host: str = ""
    service_port: int = 0
    type: str = ""
    http_port: int = 0
    grpc_port: int = 0

    @classmethod
    def read(cls, fields: Fields) -> Endpoint:
        return cls(
            service_host=fields.text("service_host"),
            service_port=fields.whole("service_port") or 0,
            type=fields.text("type"),
            http_port=fields.whole("httpPort") or 0,
            grpc_port=fields.whole("grpcPort") or 0,
        )

    @property
    def fault(self) -> str:
        """What is wrong with its host or its ports; empty where each is one, or is not given."""
        if not is_host(self.service_host):
            return f"endpoint: service_host {self.service_host[:MAX_SHOWN_CHARS]!r} is no name or address of a host"
        given = {"service_port": self.service_port, "httpPort": self.http_port, "grpcPort": self.grpc_port}
        wrong = [f"{name} {port}" for name, port in given.items() if not 0 <= port <= MAX_PORT]
        return f"endpoint: {', '.join(wrong)} is no port from 1 to {MAX_PORT}" if wrong else ""

    def to_json(self) -> dict[str, Any]:
        return {
            key: value
            for key, value in {
                "service_host": self.service_host,
                "service_port": self.service_port,
                "type": self.type,
                "httpPort": self.http_port,
                "grpcPort": self.grpc_port,
            }.items()
            if value
        }


@dataclass(frozen=True, slots=True)
class Parameter:
    """``value`` is a text whatever ``type`` says; parameters.py has the typed form."""

    name: str
    value: str
    type: str

    @classmethod
    def read(cls, value: Any, path: str) -> Parameter:
        fields = Fields.of(value, path)
        for key in ("name", "value", "type"):
            if fields.values.get(key) is None:
                raise FieldError(fields.at(key), "is required")
        return cls(fields.text("name"), fields.text("value"), fields.text("type"))

    def to_json(self) -> dict[str, str]:
        return {"name": self.name, "value": self.value, "type": self.type}


@dataclass(frozen=True, slots=True)
class Logger:
    mode: str = ""
    url: str = ""

    def to_json(self) -> dict[str, Any]:
        return without_empty({"mode": self.mode, "url": self.url})


@dataclass(frozen=True, slots=True)
class PredictiveUnit:
    """One node and everything below it. Texts are empty where the manifest says nothing."""

    name: str
    type: str = ""
    implementation: str = ""
    methods: tuple[str, ...] = ()
    endpoint: Endpoint | None = None
    parameters: tuple[Parameter, ...] = ()
    model_uri: str = ""
    service_account_name: str = ""
    env_secret_ref_name: str = ""
    storage_initializer_image: str = ""
    logger: Logger | None = None
    children: tuple[PredictiveUnit, ...] = ()

    @classmethod
    def from_json(cls, value: Any) -> PredictiveUnit:
        """Raises FieldError."""
        return cls.read(value, "graph")

    @property
    def takes_feedback(self) -> bool:
        return self.type in {"MODEL", "ROUTER"} or "SEND_FEEDBACK" in self.methods

    def walk(self) -> Iterator[PredictiveUnit]:
        """This node and everything below it, depth first."""
        yield self
        for child in self.children:
            yield from child.walk()

    @classmethod
    def read(cls, value: Any, path: str, *, depth: int = 1) -> PredictiveUnit:
        """Raises FieldError, also for more than MAX_DEPTH levels."""
        if depth > MAX_DEPTH:
            raise FieldError(path, f"more than {MAX_DEPTH} nodes below one another")
        fields = Fields.of(value, path)
        endpoint, logger = fields.child("endpoint"), fields.child("logger")
        return cls(
            name=fields.required_text("name"),
            type=fields.text("type"),
            implementation=fields.text("implementation"),
            methods=fields.items("methods", read_text),
            endpoint=None if endpoint is None else Endpoint.read(endpoint),
            parameters=fields.items("parameters", Parameter.read),
            model_uri=fields.text("modelUri"),
            service_account_name=fields.text("serviceAccountName"),
            env_secret_ref_name=fields.text("envSecretRefName"),
            storage_initializer_image=fields.text("storageInitializerImage"),
            logger=None if logger is None else Logger(logger.text("mode"), logger.text("url")),
            children=fields.items("children", lambda child, at: cls.read(child, at, depth=depth + 1)),
        )

    def to_json(self) -> dict[str, Any]:
        return without_empty(
            {
                "name": self.name,
                "type": self.type,
                "implementation": self.implementation,
                "methods": list(self.methods),
                "endpoint": self.endpoint and self.endpoint.to_json(),
                "parameters": [parameter.to_json() for parameter in self.parameters],
                "modelUri": self.model_uri,
                "serviceAccountName": self.service_account_name,
                "envSecretRefName": self.env_secret_ref_name,
                "storageInitializerImage": self.storage_initializer_image,
                "logger": self.logger and self.logger.to_json(),
                "children": [child.to_json() for child in self.children],
            }
        )
