"""Every object of every golden file keeps to the schema of whoever defines its kind."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.manifests.schemas import (
    KUBERNETES,
    broken_rules,
    complain_of_definition,
    complain_of_kubernetes,
    is_of_kubernetes,
)

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.yaml"))
Object = dict[str, Any]


def documents(path: Path) -> list[Object]:
    return list(yaml.load_all(path.read_text(), Loader=yaml.CSafeLoader))


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_kubernetes_objects_keep_to_its_schema(path, version):
    found = [obj for obj in documents(path) if is_of_kubernetes(obj)]
    assert {"Deployment", "Service"} <= {obj["kind"] for obj in found}
    assert {obj["metadata"]["name"]: said for obj in found if (said := complain_of_kubernetes(obj, version))} == {}


@pytest.mark.data
@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_objects_of_istio_and_keda_keep_to_their_definitions(path):
    found = [obj for obj in documents(path) if not is_of_kubernetes(obj)]
    assert {"VirtualService", "DestinationRule"} <= {obj["kind"] for obj in found}
    assert {obj["metadata"]["name"]: said for obj in found if (said := complain_of_definition(obj))} == {}
    assert {obj["metadata"]["name"]: said for obj in found if (said := broken_rules(obj))} == {}


@pytest.mark.data
def test_each_check_finds_a_misspelt_field():
    hpa = documents(Path(__file__).parent / "golden" / "hpa.yaml")
    for obj in (deepcopy(item) for item in hpa if "spec" in item):
        obj["spec"]["replicaz"] = 1
        assert complain_of_kubernetes(obj, KUBERNETES[0]) if is_of_kubernetes(obj) else complain_of_definition(obj)
