"""The number of a home's layout: old homes are taken forward, newer ones refused with the release that can use them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import slipway
from slipway.onebox.home_format import HOME_FORMAT, STEPS, FormatError, migrate, read_format, steps_from
from slipway.onebox.paths import Paths
from slipway.onebox.services.start import prepare


def number(paths: Paths, value: object, release: str = "0.0.9") -> None:
    paths.home_format.write_text(json.dumps({"format": value, "release": release}))


def test_every_number_below_the_present_has_a_step() -> None:
    assert sorted(STEPS) == list(range(HOME_FORMAT))


def test_steps_lead_from_any_older_number_in_order() -> None:
    assert steps_from(1, last=4, known={0: 1, 1: 1, 2: 1, 3: 1}) == [1, 2, 3]
    assert steps_from(4, last=4, known={}) == []


def test_home_of_before_numbers_is_taken_forward_and_keeps_what_it_has(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    paths.settings.write_text('{"gateway_port": 9090}\n')
    assert migrate(paths) == [0]
    assert read_format(paths.home_format) == (HOME_FORMAT, slipway.__version__)
    assert paths.settings.read_text() == '{"gateway_port": 9090}\n'
    assert migrate(paths) == []


def test_step_that_fails_leaves_the_number(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    paths.settings.write_text('{"getaway_port": 9090}\n')
    with pytest.raises(FormatError, match="getaway_port"):
        migrate(paths)
    assert not paths.home_format.exists()


def test_home_of_a_newer_release_is_refused_by_up_untouched(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "home")
    (paths.home / "run").mkdir(parents=True)
    number(paths, HOME_FORMAT + 1, "9.9.9")
    with pytest.raises(FormatError, match=re.escape("made by Slipway 9.9.9")) as caught:
        prepare(paths, {})
    assert f"this is Slipway {slipway.__version__}: use 9.9.9" in str(caught.value)
    assert sorted(path.name for path in paths.home.iterdir()) == ["format.json", "run"]


def test_number_without_a_way_forward_is_refused() -> None:
    with pytest.raises(FormatError, match="no way from 2 to 3"):
        steps_from(1, last=4, known={1: 1, 3: 1})


def test_another_release_of_the_same_layout_signs(tmp_path: Path) -> None:
    number(Paths(tmp_path), HOME_FORMAT)
    assert migrate(Paths(tmp_path)) == []
    assert read_format(tmp_path / "format.json") == (HOME_FORMAT, slipway.__version__)


@pytest.mark.parametrize("text", ["", "[]", '{"format": "1", "release": "x"}', '{"format": -1, "release": "x"}', "{}"])
def test_damaged_number_is_an_error_that_names_the_file(text: str, tmp_path: Path) -> None:
    (tmp_path / "format.json").write_text(text)
    with pytest.raises(FormatError, match=re.escape(str(tmp_path / "format.json"))):
        read_format(tmp_path / "format.json")


def test_up_numbers_a_new_home(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "home")
    prepare(paths, {})
    assert read_format(paths.home_format) == (HOME_FORMAT, slipway.__version__)
