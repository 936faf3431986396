"""Every benchmark and script can be imported and says how it is asked; the option that all benchmarks have."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

from benchmarks import command_line
from tests.data import REPOSITORY

ELSEWHERE = {"locustfile", "json_executor"}
"""The one needs an environment of its own, with Locust; the other changes the process that imports it."""
FILES = [path for folder in ("benchmarks", "scripts") for path in sorted((REPOSITORY / folder).glob("*.py"))]
MODULES = [f"{path.parent.name}.{path.stem}" for path in FILES if path.stem not in ELSEWHERE]


def test_figures_are_kept_where_a_file_is_named(tmp_path: Path) -> None:
    parser = command_line.parser("what it measures", epilog="examples:\n  python -m it")
    file = parser.parse_args(["--json", str(tmp_path / "run.json")]).json
    command_line.keep({"ms": [1.5]}, file)
    command_line.keep({"ms": []}, parser.parse_args([]).json)
    assert json.loads(file.read_text()) == {"ms": [1.5]}
    assert parser.format_help().endswith("examples:\n  python -m it\n")


@pytest.mark.parametrize("name", MODULES)
def test_program_is_imported_and_says_how_it_is_asked(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = importlib.import_module(name)
    if not hasattr(module, "main"):
        return  # a part of the others
    monkeypatch.setattr("sys.argv", [name, "--help"])
    with pytest.raises(SystemExit, match="0"):
        module.main()
    said = capsys.readouterr().out
    assert said.startswith("usage:")
    assert said.count("--json FILE") == (2 if name.startswith("benchmarks.") else 0)
