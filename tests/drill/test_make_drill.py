"""`make drill`: what it holds, prints and ends with; and that every control is held with all of its switches."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scripts import drill
from slipway.drill.drills import DRILLS
from slipway.drill.table import as_object
from tests.drill.test_table import BAD, GOOD

Calls = list[tuple[str, ...]]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Calls:
    """The words of every ``slipway drill``; each keeps its promises, and with a switch off breaks one."""
    made: Calls = []

    def held(_folder: Path, _sent: Path, *words: str) -> list[dict[str, Any]]:
        made.append(words)
        rows: list[dict[str, Any]] = as_object([BAD if "--without" in words else GOOD])["rows"]
        return rows

    monkeypatch.setattr(drill, "held", held)
    monkeypatch.setattr(drill, "PHOTOS", tmp_path)
    monkeypatch.setattr(drill, "registered", lambda _folder: "models:/tiny/1")
    return made


def ended(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["drill", *words])
    return drill.main()


def test_short_run_holds_every_drill_once_and_ends_well(
    monkeypatch: pytest.MonkeyPatch, calls: Calls, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(monkeypatch) == 0
    names = [drill.name for drill in DRILLS if not drill.name.startswith("overload")]
    assert calls[0] == ("--only", ",".join(names), "--requests", "500")
    assert calls[1] == ("--only", "overload-5", "--model", "models:/tiny/1", "--size", "416x416")
    assert len(calls) == 2
    said = capsys.readouterr().out
    assert "| a Pod dies with all its containers | 1 | 10 | 0 | 0 | 100 | 100 | 0.10 |" in said
    assert said.endswith("every promise was kept\n")


@pytest.mark.parametrize(
    ("problem", "beginning", "is_broken"),
    [
        ("lost 2, 0 promised", "BROKEN", True),
        ("recovery 1.23 s, 1 s promised", "LATE", False),
        ("the peak was 13.0/s, and is 7.0/s after it", "LATE", False),
    ],
)
def test_only_lateness_may_be_told_instead_of_broken(problem: str, beginning: str, *, is_broken: bool) -> None:
    rows = [{"drill": "both-envoys", "problems": [problem]}]
    assert drill.verdict(rows, late_is_told=True) == ([f"{beginning}: both-envoys: {problem}"], is_broken)
    assert drill.verdict(rows, late_is_told=False) == ([f"BROKEN: both-envoys: {problem}"], True)


def test_broken_promise_is_the_exit_code(monkeypatch: pytest.MonkeyPatch, calls: Calls) -> None:
    rows = as_object([BAD])["rows"]
    monkeypatch.setattr(drill, "held", lambda *_: rows)
    assert ended(monkeypatch, "--only", "drills") == 1
    assert calls == []


@pytest.mark.parametrize(
    ("problem", "held_again", "exit_code"),
    [("longest gap 1.1 s, 1 s promised", 1, 0), ("lost 1, 0 promised", 0, 1), ("199 of 200 requests mirrored", 0, 1)],
)
def test_only_what_came_late_is_held_once_more(
    monkeypatch: pytest.MonkeyPatch, calls: Calls, problem: str, held_again: int, exit_code: int
) -> None:
    answers = [as_object([replace(GOOD, problems=(problem,))])["rows"], as_object([GOOD])["rows"]]
    monkeypatch.setattr(drill, "held", lambda *_: answers.pop(0))
    assert ended(monkeypatch, "--only", "drills") == exit_code
    assert len(answers) == 1 - held_again
    assert calls == []


def test_what_comes_late_twice_is_broken(monkeypatch: pytest.MonkeyPatch, calls: Calls) -> None:
    late = as_object([replace(GOOD, problems=("goodput 1.0/s of 2.0/s",))])["rows"]
    monkeypatch.setattr(drill, "held", lambda *_: late)
    assert ended(monkeypatch, "--only", "overload") == 1
    assert calls == []


def test_every_control_is_held_and_must_break_a_promise(monkeypatch: pytest.MonkeyPatch, calls: Calls) -> None:
    assert ended(monkeypatch, "--only", "controls") == 0
    assert [option(words, "--only") for words in calls] == [one.name for one in DRILLS]
    assert {option(words, "--without") for words in calls} >= {"retries", "limits", "shadow", "readiness,retries"}
    kept = as_object([GOOD])["rows"]
    monkeypatch.setattr(drill, "held", lambda *_: kept)
    assert ended(monkeypatch, "--only", "controls") == 1


@pytest.mark.parametrize(
    ("problem", "of_overload"),
    [
        ("recovery 2.5 s, 2.2 s promised", True),
        ("goodput 9.0/s of 20.0/s at the peak: 45 %, 90 % promised", True),
        ("the generator sent 70.0/s of 100.0/s", False),
        ("the peak was 13.0/s, and is 7.0/s after it", False),
    ],
)
def test_control_that_is_only_late_shows_nothing_but_of_overload(
    monkeypatch: pytest.MonkeyPatch,
    calls: Calls,
    capsys: pytest.CaptureFixture[str],
    problem: str,
    *,
    of_overload: bool,
) -> None:
    """Lateness comes from a busy machine, too: what a drill relies on is shown by what is lost without it."""
    late = as_object([replace(GOOD, problems=(problem,))])["rows"]
    monkeypatch.setattr(drill, "held", lambda *_: late)
    assert ended(monkeypatch, "--only", "controls") == 1
    said = capsys.readouterr().out
    assert "BROKEN: freeze without retries: it loses nothing all the same" in said
    assert ("BROKEN: overload-5 without limits" not in said) is of_overload
    assert calls == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"lost": 3, "lost_before": 3}, "it loses nothing all the same: this drill shows nothing"),
        ({"problems": ("not held to its end: no Pod",)}, "not held to its end: no Pod"),
    ],
)
def test_control_that_lost_before_it_began_or_was_not_held_shows_nothing(
    monkeypatch: pytest.MonkeyPatch,
    calls: Calls,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, Any],
    said: str,
) -> None:
    rows = as_object([replace(GOOD, **changes)])["rows"]
    monkeypatch.setattr(drill, "held", lambda *_: rows)
    assert ended(monkeypatch, "--only", "controls") == 1
    assert f"BROKEN: pod without retries: {said}" in capsys.readouterr().out
    assert calls == []


def option(words: Sequence[str], name: str) -> str:
    return words[words.index(name) + 1]
