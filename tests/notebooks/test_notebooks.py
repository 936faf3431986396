"""Notebooks are committed without outputs, are short, and import nothing that a hub user's environment lacks."""

from __future__ import annotations

import ast
import itertools
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from model_wrappers.darknet.training.errors import Interrupted
from slipway.client.detections import Box, Detection
from tests.data import REPOSITORY
from tests.notebooks.books import NOTEBOOKS, PATHS, Import, defined_names, imports, load_cells, own_file, sources

PROFILES = sorted((REPOSITORY / "images").glob("notebook-*/image.yaml"))
DISTRIBUTIONS = {"cv2": "opencv-python-headless", "IPython": "ipython"}
"""Of what is imported by another name than it is installed by."""
MAX_CELL_LINES = 32
MAX_PICTURE_BYTES = 200_000
DAY = ["01-train.ipynb", "02-register.ipynb", "03-deploy.ipynb", "04-canary.ipynb"]


def test_the_days_notebooks_are_there_in_their_order() -> None:
    assert [path.name for path in PATHS] == DAY
    for path, following in itertools.pairwise(PATHS):
        assert following.name in sources(path, "markdown")[-1], f"{path.name} does not lead to {following.name}"


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_notebook_carries_no_outputs(path: Path) -> None:
    for number, cell in enumerate(load_cells(path)):
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None), f"{path.name}: cell {number} was run"
        assert cell["metadata"] == {}, f"{path.name}: cell {number}"


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_notebook_explains_each_step_and_keeps_it_short(path: Path) -> None:
    kinds = [cell["cell_type"] for cell in load_cells(path)]
    assert kinds[0] == "markdown"
    assert not [pair for pair in itertools.pairwise(kinds) if pair == ("code", "code")], "code unexplained"
    lengths = [len(code.splitlines()) for code in sources(path, "code")]
    assert max(lengths) <= MAX_CELL_LINES


def locked(image: Path) -> set[str]:
    """Distributions of a notebook image: of its lock file, and those that pip adds."""
    spec = yaml.safe_load(image.read_text())
    lock = (image.parent / spec["requirements"]).read_text()
    return set(re.findall(r"^([\w.-]+)==", lock, re.MULTILINE)) | {one.partition("==")[0] for one in spec["unhashed"]}


@pytest.mark.parametrize("image", PROFILES, ids=lambda path: path.parent.name)
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_every_import_resolves_in_the_image_of_every_profile(path: Path, image: Path) -> None:
    packages, installed = yaml.safe_load(image.read_text())["packages"], locked(image)
    missing = [
        found for code in sources(path, "code") for found in imports(code) if not _is_there(found, packages, installed)
    ]
    assert missing == []


def _is_there(found: Import, packages: list[str], installed: set[str]) -> bool:
    if found.top not in packages:
        return found.top in sys.stdlib_module_names or DISTRIBUTIONS.get(found.top, found.top) in installed
    file = own_file(found.module)
    if file is None:
        return False
    return not found.name or found.name in defined_names(file) or own_file(f"{found.module}.{found.name}") is not None


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (Import("os"), True),
        (Import("cv2"), True),
        (Import("slipway.client", "Client"), True),
        (Import("model_wrappers", "mlflow_darknet"), True),
        (Import("models.shapes.draw", "CLASSES"), True),
        (Import("slipway.client", "Cleint"), False),
        (Import("slipway.clients", "Client"), False),
        (Import("tests.data", "REPOSITORY"), False),
        (Import("tensorflow"), False),
    ],
)
def test_import_check_tells_what_is_there_from_what_is_not(found: Import, expected: bool) -> None:
    assert _is_there(found, ["model_wrappers", "models", "slipway"], {"opencv-python-headless"}) is expected


def test_document_of_the_day_names_the_notebooks_and_links_to_what_is_there() -> None:
    document = REPOSITORY / "docs" / "data-scientist.md"
    text = document.read_text()
    assert re.findall(r"^\| `(\d\d-\w+)`", text, re.MULTILINE) == [path.stem for path in PATHS]
    links = [document.parent / link for link in re.findall(r"\]\(([^)#]+)\)", text)]
    assert [link for link in links if not link.is_file()] == []
    pictures = {link for link in links if link.parent.name == "screens"}
    assert pictures == set((document.parent / "screens").iterdir())
    assert [path.name for path in pictures if path.stat().st_size > MAX_PICTURE_BYTES] == []


def answer(*boxes: tuple[str, float, float]) -> list[Detection]:
    """Boxes of 50 x 50 pixels: label, left and top of each."""
    return [Detection(label, 0.9, Box(left, top, left + 50, top + 50)) for label, left, top in boxes]


@pytest.mark.parametrize(
    ("other", "is_same"),
    [
        (answer(("circle", 10, 10), ("cross", 80, 80)), True),
        (answer(("circle", 12, 10), ("cross", 80, 78)), True),
        (answer(("circle", 10, 10), ("cross", 80, 83)), False),
        (answer(("circle", 10, 10), ("square", 80, 80)), False),
        (answer(("circle", 10, 10)), False),
    ],
)
def test_third_notebook_compares_boxes_and_labels(other: list[Detection], *, is_same: bool) -> None:
    (code,) = [one for one in sources(NOTEBOOKS / "03-deploy.ipynb", "code") if "the same boxes" in one]
    (function,) = [node for node in ast.parse(code).body if isinstance(node, ast.FunctionDef)]
    found: dict[str, Any] = {}
    exec(ast.unparse(function), found)
    assert found[function.name](answer(("circle", 10, 10), ("cross", 80, 80)), other) is is_same
    assert f"{function.name}(again, found)" in code


def first_code(name: str) -> ast.Module:
    return ast.parse(sources(NOTEBOOKS / name, "code")[0])


def test_second_notebook_before_the_first_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    checks = [node for node in first_code("02-register.ipynb").body if type(node) in (ast.Assign, ast.If)][:3]
    code = ast.unparse(ast.Module(checks, []))
    names: dict[str, Any] = {"Path": Path}
    sentence = r"^trained/shapes\.cfg, .*shapes\.names: not there: run notebook 1 first, or put your own cfg, weights"
    with pytest.raises(FileNotFoundError, match=sentence):
        exec(code, names)
    (tmp_path / "trained").mkdir()
    for path in names["yours"].values():
        path.touch()
    exec(code, names)
    assert "**yours" in sources(NOTEBOOKS / "02-register.ipynb", "code")[1]


def test_stopped_training_says_how_to_go_on() -> None:
    def stopped(*_: object) -> None:
        raise Interrupted("stopped after step 160 of 360")

    (code,) = [one for one in sources(NOTEBOOKS / "01-train.ipynb", "code") if "run_session(" in one]
    (training,) = [node for node in ast.parse(code).body if isinstance(node, ast.Try)]
    names = {"Interrupted": Interrupted, "run_session": stopped, "session": 0, "photos": 0, "unseen": 0}
    with pytest.raises(Interrupted, match="^stopped after step 160 of 360: run the cell again to go on$") as raised:
        exec(ast.unparse(training), names)
    assert raised.value.__suppress_context__, "one traceback, not two"
