"""Every program that an image starts with, or that a manifest starts in it, has its modules and packages there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import yaml

from scripts.images import chosen
from slipway.onebox.images.build import PLATFORM_ROOT
from slipway.onebox.images.reference import parse_reference
from slipway.onebox.images.snapshot import take_snapshot
from slipway.onebox.images.spec import ImageSpec, load_image_spec
from tests.data import REPOSITORY
from tests.images.imports import is_ours, missing, place_of, reachable

SPECS = [load_image_spec(path.parent) for path in sorted((REPOSITORY / "images").glob("*/image.yaml"))]
BY_NAME = {spec.name: spec for spec in SPECS}
FOLDERS = ("kubernetes", "mlflow", "monitoring", "seldon", "training")
"""Where manifests are; a Compose file is one more."""


def started() -> Iterator[tuple[str, str]]:
    """(image name, `python -m` module) of every container of ours in a manifest; '' where the image's own program starts."""
    paths = [path for folder in FOLDERS for path in sorted((REPOSITORY / folder).rglob("*.y*ml"))]
    for path in (*paths, *REPOSITORY.glob("compose.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            for item in _with_image(document):
                name = parse_reference(item["image"]).name
                if name.startswith("slipway/"):
                    yield name, _module([*(item.get("command") or ()), *(item.get("entrypoint") or ())])


def _with_image(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if isinstance(value.get("image"), str):
            yield value
        for inner in value.values():
            yield from _with_image(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _with_image(inner)


def _module(words: list[str]) -> str:
    return words[words.index("-m") + 1] if "-m" in words and "python" in words else ""


STARTED = sorted(set(started()))
PROGRAMS = sorted(
    {(spec.name, spec.entrypoint[2]) for spec in chosen(SPECS, []) if spec.entrypoint[1:2] == ("-m",)}
    | {(name, module) for name, module in STARTED if module and name in BY_NAME}
)
READ_BY_THE_HUB = ("slipway/jupyterhub", "slipway.onebox.services.hub.configuration")
"""By `jupyterhub_config.py`; what it starts runs outside of its image."""
OURS = [*((name, module) for name, module in PROGRAMS if is_ours(module)), READ_BY_THE_HUB]


def test_every_image_of_ours_that_a_manifest_names_can_be_built() -> None:
    assert {name for name, _ in STARTED} - BY_NAME.keys() == set()
    assert ("slipway/yolo-detector", "") in STARTED


@pytest.mark.parametrize(("name", "module"), OURS)
def test_an_image_has_what_a_program_in_it_imports(name: str, module: str) -> None:
    snapshot = take_snapshot(BY_NAME[name], roots=(REPOSITORY, PLATFORM_ROOT))
    files = {file.target: file.source for file in snapshot.files}
    assert place_of(module, files) or place_of(f"{module}.__main__", files)
    assert len(reachable(snapshot, module)) > 1
    assert missing(snapshot, module) == set()


def test_a_module_or_package_that_an_image_lacks_is_found() -> None:
    spec = BY_NAME["slipway/controller"]
    poor: ImageSpec = replace(
        spec,
        packages=tuple(name for name in spec.packages if name != "slipway.registry"),
        requirements=REPOSITORY / "requirements" / "bill.txt",
    )
    found = missing(take_snapshot(poor, roots=(REPOSITORY, PLATFORM_ROOT)), "slipway.controller")
    assert any(line.endswith("imports slipway.registry") for line in found)
    assert any(line.endswith("imports aiohttp") for line in found)
