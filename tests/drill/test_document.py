"""docs/drills.md says what the program does."""

from __future__ import annotations

from click.testing import CliRunner

from slipway.cli.main import main
from slipway.drill.drills import DRILLS, SWITCHES
from slipway.drill.overload import PEAK_AFTER
from tests.data import REPOSITORY

TEXT = (REPOSITORY / "docs" / "drills.md").read_text()


def test_table_of_drills_is_the_programs() -> None:
    controls = [" and ".join(sorted(drill.control)) + (", both" if len(drill.control) > 1 else "") for drill in DRILLS]
    expected = [f"| `{drill.name}` | {drill.what} | {said} |" for drill, said in zip(DRILLS, controls, strict=True)]
    assert [line for line in TEXT.splitlines() if line.startswith("| `")] == expected


def test_every_switch_is_explained() -> None:
    section = TEXT.partition("## Negative controls")[2].partition("\n## ")[0]
    assert [line.split("`")[1] for line in section.splitlines() if line.startswith("- `")] == list(SWITCHES)


def test_bound_of_the_peak_is_the_programs() -> None:
    assert f"after it must be at least {PEAK_AFTER * 100:g} % of before" in TEXT


def test_list_names_every_drill_and_switch() -> None:
    done = CliRunner().invoke(main, ["drill", "--list"])
    assert done.exit_code == 0
    for word in (*(drill.name for drill in DRILLS), *SWITCHES):
        assert word in done.output


def test_photos_are_needed() -> None:
    done = CliRunner().invoke(main, ["drill"])
    assert done.exit_code == 2
    assert "--photos DIR" in done.output


def test_unknown_drill_is_refused_with_those_that_there_are() -> None:
    done = CliRunner().invoke(main, ["drill", "--only", "pdo"])
    assert done.exit_code == 2
    assert "pdo: there are pod, executor" in done.output


def test_folder_without_fitting_photos_is_refused(tmp_path: object) -> None:
    done = CliRunner().invoke(main, ["drill", "--photos", str(tmp_path)])
    assert done.exit_code == 2
    assert "no .jpg of 40000 to 1000000 bytes among 0" in done.output
