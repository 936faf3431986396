"""What people and programs are shown."""

from __future__ import annotations

import json
import math
from dataclasses import replace

from slipway.drill.reply import Effort
from slipway.drill.table import as_object, render
from slipway.drill.verdict import Act, Promise, judge
from tests.drill.replies import MODEL, detection, reply

GOOD = judge(
    "pod",
    [reply(0.1 * number) for number in range(10)],
    rest={(MODEL, 0): (detection(),)},
    acts=[Act("a", 0.2, 0.5)],
    promise=Promise(),
    rate=10.0,
    effort=Effort(0.1, 10.0, 0.0),
)
BAD = replace(
    GOOD,
    drill="both-envoys",
    without=("retries",),
    lost=3,
    recovery_s=math.inf,
    problems=("lost 3, 0 promised",),
    losses=(("HTTP 0: broken", 3),),
)


def test_table_aligns_and_says_what_is_broken() -> None:
    lines = render([GOOD, BAD]).splitlines()
    assert lines[0].split() == [
        "DRILL",
        "ACTS",
        "RATE/S",
        "SENT",
        "ANSWERED",
        "REFUSED",
        "IN",
        "MS",
        "LOST",
        "WRONG",
        "P50",
        "MS",
        "P99",
        "MS",
        "GAP",
        "S",
        "BACK",
        "S",
        "GEN",
        "CPU",
    ]
    assert lines[1].split() == ["pod", "1", "10.0", "10", "10", "0", "-", "0", "0", "100", "100", "0.10", "0.30", "1%"]
    assert lines[2].startswith("both-envoys (no retries)")
    assert "never" in lines[2]
    assert lines[3:] == ["  broken: lost 3, 0 promised", "  3 x HTTP 0: broken"]
    assert len(lines[1]) == len(lines[0]) == len(lines[2])


def test_object_is_json_and_says_whether_all_was_kept() -> None:
    found = json.loads(json.dumps(as_object([GOOD, BAD], photos=4)))
    assert (found["kept"], found["photos"]) == (False, 4)
    assert [one["recoveryS"] for one in found["rows"]] == [0.3, None]
    assert [one["isKept"] for one in found["rows"]] == [True, False]
