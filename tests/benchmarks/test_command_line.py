"""The option that every benchmark has, and the file that it names."""

from __future__ import annotations

import importlib
import json

import pytest

from benchmarks import command_line

BENCHMARKS = ("first_answer", "graph", "idle", "microservice", "path", "scaling", "soak")


def test_figures_are_kept_where_a_file_is_named(tmp_path):
    parser = command_line.parser("what it measures", epilog="examples:\n  python -m it")
    file = parser.parse_args(["--json", str(tmp_path / "run.json")]).json
    command_line.keep({"ms": [1.5]}, file)
    command_line.keep({"ms": []}, parser.parse_args([]).json)
    assert json.loads(file.read_text()) == {"ms": [1.5]}
    assert parser.format_help().endswith("examples:\n  python -m it\n")


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_says_how_it_is_asked(name, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", [name, "--help"])
    with pytest.raises(SystemExit, match="0"):
        importlib.import_module(f"benchmarks.{name}").main()
    said = capsys.readouterr().out
    assert said.count("--json FILE") == 2
