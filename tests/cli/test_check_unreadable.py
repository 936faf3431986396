"""`slipway check` of what holds no manifest: one error that says where, what, and what would be right."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from slipway.cli.main import main


def check(path: str) -> Result:
    return CliRunner().invoke(main, ["check", path])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Below the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m").mkdir()
    return tmp_path / "m"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a\x92", "m/a.yaml: error: byte 2 is no UTF-8: a manifest is text in UTF-8"),
        (b"a: 1\nb: \x00", "m/a.yaml:2: error: U+0000 has no place in YAML: a manifest is text"),
        (b"a: " + b"[" * 100_000, "m/a.yaml:1: error: more than 100 levels deep"),
        (b"#" * (16 * 1024 * 1024 + 1), "m/a.yaml: error: larger than 16777216 bytes, more than a manifest may be"),
        (b"kind: ConfigMap\nmetadata: {name: a}", "m/a.yaml: error: document 1: apiVersion missing"),
    ],
)
def test_what_is_no_manifest_at_all_is_one_error(folder: Path, content: bytes, said: str) -> None:
    (folder / "a.yaml").write_bytes(content)
    for path in ("m", "m/a.yaml"):
        result = check(path)
        assert (result.exit_code, result.output.splitlines()[0]) == (1, said)


@pytest.mark.parametrize("content", ["", "null", "- apiVersion: v1\n", "some text"])
def test_yaml_without_an_object_is_named_and_told_what_is_looked_for(folder: Path, content: str) -> None:
    (folder / "a.yaml").write_text(content)
    result = check("m")
    assert result.exit_code == 1
    assert result.output.startswith("m: error: nothing found here: a manifest has apiVersion and kind")
    assert "m/a.yaml" in result.output
