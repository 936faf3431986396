"""Rows 60 to 97 of the page of compatibility agree with the tests that are named after them."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.conformance.verdicts import BETTER, SAME
from tests.contract.test_compatibility import TEST, rows
from tests.data import REPOSITORY

FILES = sorted((REPOSITORY / "tests" / "conformance").glob("test_rows_*.py"))


def _marked() -> Iterator[tuple[str, int, str]]:
    """``conformance/file.py::test``, row and verdict of every marked test."""
    for file in FILES:
        for one in ast.parse(file.read_text()).body:
            if isinstance(one, ast.FunctionDef) and one.name.startswith("test_"):
                marks = [mark for mark in one.decorator_list if isinstance(mark, ast.Call)]
                for mark in marks:
                    if isinstance(mark.func, ast.Name) and isinstance(mark.args[0], ast.Constant):
                        yield f"conformance/{file.name}::{one.name}", int(str(mark.args[0].value)), mark.func.id


MARKED = {test: (row, verdict) for test, row, verdict in _marked()}


def test_every_test_of_a_row_says_row_and_verdict_and_is_named_after_it():
    defined = [
        f"conformance/{file.name}::{one.name}"
        for file in FILES
        for one in ast.parse(file.read_text()).body
        if isinstance(one, ast.FunctionDef) and one.name.startswith("test_")
    ]
    assert sorted(defined) == sorted(MARKED)
    assert [test for test, (row, _) in MARKED.items() if f"::test_row_{row}_" not in test] == []


@pytest.mark.parametrize("number", range(80, 98))
def test_row_of_the_page_has_the_verdict_of_its_tests(number: int):
    """*Same*: each of them passes under 1.17.1. *Better*: one of them fails there at least, which the suite asserts."""
    row = next(one for one in rows("The 97 behaviours") if one[0] == str(number))
    named = {f"{file}::{test}" for file, test in TEST.findall(row[4]) if f"{file}::{test}" in MARKED}
    of_row = {test: verdict for test, (of, verdict) in MARKED.items() if of == number}
    assert named == of_row.keys(), f"row {number} names other tests than those marked with it"
    verdicts = set(of_row.values())
    assert row[2] in {BETTER: ("better", "not yet"), SAME: ("same", "not yet")}[BETTER if BETTER in verdicts else SAME]


@pytest.mark.parametrize("number", range(60, 80))
def test_row_of_the_page_names_the_tests_that_are_named_after_it(number: int):
    prefix = f"test_row_{number}_"
    row = next(one for one in rows("The 97 behaviours") if one[0] == str(number))
    named = {f"{file}::{test}" for file, test in TEST.findall(row[4]) if test.startswith(prefix)}
    files = [path for path in (REPOSITORY / "tests").rglob("test_*.py") if prefix in path.read_text()]
    defined = {
        f"{path.relative_to(REPOSITORY / 'tests').as_posix()}::{one.name}"
        for path in files
        for one in ast.parse(path.read_text()).body
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef) and one.name.startswith(prefix)
    }
    assert named == defined != set()
