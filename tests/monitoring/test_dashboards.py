"""Grafana's dashboards are what the table of panels says, and what Grafana can show. Their queries: tests/e2e."""

from __future__ import annotations

import json

import pytest

from monitoring import dashboards

NAMES = sorted(dashboards.DASHBOARDS)


def test_files_are_what_the_table_says():
    for path, text in dashboards.texts().items():
        assert path.read_text() == text, f"{path}: run python monitoring/dashboards.py"
    assert sorted(dashboards.FOLDER.glob("*.json")) == sorted(dashboards.texts())


def test_dashboards_have_names_of_their_own():
    made = [json.loads((dashboards.FOLDER / f"{name}.json").read_text()) for name in NAMES]
    assert len({one["uid"] for one in made}) == len({one["title"] for one in made}) == len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_panels_cover_the_grid_without_overlap(name):
    cells = set()
    for panel in json.loads((dashboards.FOLDER / f"{name}.json").read_text())["panels"]:
        place = panel["gridPos"]
        mine = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= dashboards.COLUMNS
        assert not mine & cells, panel["title"]
        cells |= mine


@pytest.mark.parametrize("name", NAMES)
def test_panel_has_queries_of_the_chosen_source_with_known_variables(name):
    found = json.loads((dashboards.FOLDER / f"{name}.json").read_text())
    known = {variable["name"] for variable in found["templating"]["list"]}
    assert len({panel["id"] for panel in found["panels"]}) == len(found["panels"])
    for panel in found["panels"]:
        assert panel["targets"], panel["title"]
        for target in panel["targets"]:
            assert target["datasource"] == dashboards.SOURCE
            used = {word.split('"')[0].split("-")[0] for word in target["expr"].split("$")[1:]}
            assert used <= known, target["expr"]
