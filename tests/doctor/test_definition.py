"""The definition of a newer Slipway is told from one that is to be brought up to date."""

from __future__ import annotations

import pytest

from slipway.crd.definition import NUMBER, NUMBERED
from slipway.doctor.checks.definition import CHECKS, INSTALL, NEWER
from tests.doctor.cluster import Cluster


@pytest.mark.parametrize(
    ("number", "level", "repair"), [(NUMBER - 1, "warn", INSTALL), (NUMBER, "ok", ""), (NUMBER + 1, "warn", NEWER)]
)
def test_a_definition_of_another_release_is_told_of_with_what_helps(number: int, level: str, repair: str) -> None:
    cluster = Cluster()
    cluster.get("CustomResourceDefinition")["metadata"]["annotations"][NUMBERED] = str(number)
    (found,) = [item for check in CHECKS for item in check.findings(cluster.facts())]
    assert (found.level, found.repair) == (level, repair)
    assert ("newer" in found.what) is (number > NUMBER)
