"""The page of differences says what the table of annotations says."""

from __future__ import annotations

from slipway.contract.annotations import OURS, TABLE
from tests.data import REPOSITORY


def test_page_lists_every_annotation_of_ours():
    rows = [
        line
        for line in (REPOSITORY / "docs" / "compatibility.md").read_text().splitlines()
        if "| `slipway.dev/" in line
    ]
    assert [row.split("`")[1] for row in rows] == [annotation.name for annotation in OURS]
    for row, annotation in zip(rows, OURS, strict=True):
        assert f"| {annotation.on_onebox} | {annotation.on_istio} |" in row.replace("`", "")


def test_names_are_unique():
    assert len({annotation.name for annotation in TABLE}) == len(TABLE)
