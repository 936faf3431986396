from __future__ import annotations

import importlib
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from slipway.cli.main import main
from tests.cli.every_command import EVERY


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_help_shows_examples_line_by_line(words: tuple[str, ...]) -> None:
    result = CliRunner().invoke(main, [*words, "--help"])
    assert result.exit_code == 0
    lines = [line.strip() for line in result.output.splitlines()]
    start = next(index for index, line in enumerate(lines) if line in ("Examples:", "Example:"))
    assert lines[start + 1].startswith("slipway "), lines[start + 1]
    assert "\b" not in result.output
    assert "\\b" not in result.output


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.mark.parametrize("words", [("status",), ("down",), ("model", "list"), ("image", "list"), ("image", "prune")])
def test_looking_leaves_nothing_behind(home: Path, words: tuple[str, ...]) -> None:
    CliRunner().invoke(main, words)
    assert not home.exists()


def test_registry_without_a_platform_says_how_to_start_one(home: Path) -> None:
    result = CliRunner().invoke(main, ["model", "list"])
    assert result.exit_code == 3
    assert result.output == (f"Error: no platform at {home}: `slipway up` starts one, SLIPWAY_HOME names another\n")


def test_registry_that_does_not_answer_is_said_at_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:  # bound, not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        result = CliRunner().invoke(main, ["model", "list"])
    assert result.exit_code == 3
    assert result.output.startswith(f"Error: the registry at {address} does not answer (Connection refused)")
    assert not home.exists()


@pytest.mark.parametrize(("options", "shows"), [((), False), (("--debug",), True)])
def test_unexpected_failure_is_one_line_and_its_traceback_is_for_debug(
    home: Path, options: tuple[str, ...], *, shows: bool
) -> None:
    (home / "run").mkdir(parents=True)
    (home / "settings.json").mkdir()  # reading a folder fails in a way that nobody expects
    result = CliRunner().invoke(main, [*options, "up"])
    assert result.exit_code == 1
    assert result.output.splitlines()[-1] == f"Error: {home / 'settings.json'}: Is a directory"
    assert ("Traceback" in result.output) is shows


def said_without(module: str, *words: str) -> str:
    """What the command says on standard error, with exit code 1, where ``module`` cannot be imported."""
    program = "import sys; sys.modules[sys.argv.pop(1)] = None; from slipway.cli.main import main; main()"
    ran = subprocess.run(
        [sys.executable, "-c", program, module, *words], check=False, capture_output=True, text=True, timeout=50
    )
    assert ran.returncode == 1, ran
    return ran.stderr


def test_no_command_loads_what_only_models_and_databases_need() -> None:
    program = (
        "import sys; from slipway.cli.main import COMMANDS, main\n"
        "for name in COMMANDS: main.get_command(None, name)\n"
        "print(*sorted({'mlflow', 'numpy', 'onnxruntime', 'pandas', 'sqlalchemy'} & sys.modules.keys()))"
    )
    ran = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=50)
    assert ran.stdout == "\n"


@pytest.mark.parametrize("command", ["up", "down", "status"])
def test_platform_command_in_a_notebook_says_whose_it_is(home: Path, command: str) -> None:
    said = said_without("psycopg2", command)
    assert said == (
        f"Error: `slipway {command}` is for whoever runs the platform, whose packages are not installed here "
        "(psycopg2); `slipway get sdep` shows what you deployed\n"
    )
    assert not home.exists()


def test_missing_module_of_ours_is_not_called_a_missing_package(home: Path) -> None:
    said = said_without("slipway.onebox.services.probes", "status")
    assert said.startswith("Error: ModuleNotFoundError: import of slipway.onebox.services.probes halted")
    assert not home.exists()


def test_build_prints_the_digest_only(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = home.parent / "image"
    folder.mkdir()
    (folder / "image.yaml").write_text("{name: me/it, entrypoint: [ls], requirements: none.txt}")
    (folder / "none.txt").write_text("")
    module = importlib.import_module("slipway.onebox.images.build")
    monkeypatch.setattr(module, "ensure_environment", lambda *_, **__: None)
    monkeypatch.setattr(module, "_compile", lambda *_, **__: None)
    result = CliRunner().invoke(main, ["image", "build", "me/it:1", str(folder)])
    lines = [line for line in result.output.splitlines() if "sha256:" in line]
    assert len(lines) == 1
    assert re.fullmatch("sha256:[0-9a-f]{64}", lines[0])
