"""A build that fails is told by one of the tests that need it, and all of them are red."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.data import REPOSITORY

CONFTEST = """
import subprocess, pytest
from tests.containers.once import pytest_runtest_makereport

@pytest.fixture(scope="session")
def images():
    raise subprocess.TimeoutExpired(["make", "images"], 900)

@pytest.fixture
def own():
    raise ValueError("of this test alone")
"""
TESTS = """
def test_a(images): pass
def test_b(images): pass
def test_c(own): pass
def test_d(images): pass
def test_e(own): pass
"""


def test_failure_of_a_session_s_fixture_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_it.py").write_text(TESTS)
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), "-rN"]
    done = subprocess.run(
        [*argv, "-c", "/dev/null", str(tmp_path)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout.count("E       subprocess.TimeoutExpired") == 1, done.stdout
    assert done.stdout.count("not begun: test_it.py::test_a tells why") == 2
    assert done.stdout.count("E       ValueError: of this test alone") == 2
    assert "5 errors" in done.stdout
