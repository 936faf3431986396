"""compose.yaml: networks that are declared, names that resolve where they are asked."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from tests.compose.conftest import Drawn
from tests.compose.files import compose, environment_of
from tests.compose.network import complaints, hosts, reached


def said(document: dict[str, Any], drawn: Drawn) -> list[str]:
    services = document["services"]
    return list(complaints(document, {name: environment_of(service, drawn) for name, service in services.items()}))


def test_every_network_is_declared_and_every_host_is_reached(drawn: Drawn) -> None:
    assert "\n".join(said(compose(), drawn)) == ""


def test_hosts_are_found_wherever_a_service_has_them(drawn: Drawn) -> None:
    services = compose()["services"]
    found = {name: dict(hosts(environment_of(service, drawn))) for name, service in services.items()}
    assert found["mlflow"]["PGHOST"] == found["migrate"]["PGHOST"] == "postgres"
    assert found["register"]["MLFLOW_TRACKING_URI"] == "mlflow"
    assert found["yolo-detector-model-initializer"]["AWS_ENDPOINT_URL"] == "s3"


@pytest.mark.parametrize(
    ("service", "key", "value", "expected"),
    [
        ("s3", "networks", ["storag"], "s3: nothing declares the network storag"),
        ("mlflow", "environment", {"PGHOST": "postgrez"}, "mlflow: PGHOST names postgrez"),
        ("register", "environment", {"A_URL": "http://mlflo:5000"}, "register: A_URL names mlflo"),
        ("migrate", "networks", ["platform"], "migrate: PGHOST names postgres"),
        ("postgres", "networks", ["storage"], "the network database is nobody's"),
        ("yolo-detector", "network_mode", "service:pot", "yolo-detector: network_mode service:pot"),
        ("yolo-detector", "environment", {"A": "http://s3:8333"}, "yolo-detector: A names s3"),
    ],
)
def test_what_hangs_in_the_air_is_found(service: str, key: str, value: object, expected: str, drawn: Drawn) -> None:
    document = deepcopy(compose())
    document["services"][service][key] = value
    if expected.startswith("the network"):
        for name in ("migrate", "mlflow"):
            document["services"][name]["networks"] = ["storage", "platform"]
    assert any(item.startswith(expected) for item in said(document, drawn))


def test_an_alias_is_a_name_too() -> None:
    services: dict[str, dict[str, Any]] = {
        "a": {"networks": {"n": {"aliases": ["b"]}, "m": None}},
        "c": {"networks": ["n"]},
        "d": {"network_mode": "service:c"},
        "e": {"network_mode": "none"},
        "f": {},
    }
    assert set(reached("d", services)) == set(reached("c", services)) == {"a", "b", "c"}
    assert set(reached("e", services)) == set()
    assert set(reached("f", services)) == {"f"}
