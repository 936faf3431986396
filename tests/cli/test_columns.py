"""Text in columns, whatever the objects hold."""

from __future__ import annotations

from slipway.cli.columns import render_columns, render_description, render_table
from slipway.kube.kinds import SELDON_DEPLOYMENT

WILD = "a\x1b[2Jb\nc"


def test_columns_are_aligned_and_hold_nothing_that_drives_a_terminal() -> None:
    assert render_columns([["NAME", "SAID"], [WILD, "x"]]) == "NAME       SAID\na [2Jb c   x"


def test_description_and_table_hold_nothing_that_drives_a_terminal() -> None:
    obj = {
        "metadata": {"name": "iris", "annotations": {"note": WILD}},
        "spec": {"text": WILD},
        "status": {"conditions": [{"type": "Ready", "status": "False", "reason": "R", "message": WILD}]},
    }
    events = [{"type": "Warning", "reason": "Failed", "message": WILD, "lastTimestamp": "2026-01-01T00:00:00Z"}]
    table = {"columnDefinitions": [{"name": "Name"}], "rows": [{"cells": [WILD], "object": {"metadata": {}}}]}
    text = render_description(obj, SELDON_DEPLOYMENT, events) + render_table(table, wide=False, with_namespace=False)
    assert "\x1b" not in text
    assert text.count("a [2Jb c") == 4


def test_events_of_one_second_are_in_the_order_they_were_written() -> None:
    def event(reason: str, second: int, version: str) -> dict[str, object]:
        return {
            "reason": reason,
            "lastTimestamp": f"2026-01-01T00:00:0{second}Z",
            "metadata": {"resourceVersion": version},
        }

    events = [event("Third", 1, "10"), event("Fourth", 2, "4"), event("Second", 1, "9"), event("First", 0, "11")]
    precise = {"reason": "Fifth", "eventTime": "2026-01-01T00:00:02.900000Z", "metadata": {"resourceVersion": "12"}}
    text = render_description({"metadata": {"name": "iris"}}, SELDON_DEPLOYMENT, [precise, *events])
    words = text.split()
    order = ("First", "Second", "Third", "Fourth", "Fifth")
    assert sorted(order, key=words.index) == list(order)
