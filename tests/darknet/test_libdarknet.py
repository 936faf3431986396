from __future__ import annotations

import gc
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_wrappers.darknet.cfg import parse_network
from model_wrappers.darknet.engines import libdarknet, libdarknet_child
from model_wrappers.darknet.engines.libdarknet import DarknetProcess, library_path, misread, to_planes
from model_wrappers.darknet.errors import EngineError
from model_wrappers.darknet.folder import load_model_folder
from tests.darknet.networks import CELL, HANDMADE_CFG, TAIL, write_handmade_model

NET = "[net]\nwidth=8\nheight=8\nchannels=3\n"


@pytest.mark.parametrize(
    ("layers", "problem"),
    [
        ("[convolutional]\nfilters=2\nactivation=mish\n", "layer 0 [convolutional]: activation=mish"),
        ("[convolutional]\nfilters=2\nstride=2\nactivation=leaky\n", "layer 0 [convolutional]: stride=2 of size=1"),
        (
            "[convolutional]\nfilters=2\nactivation=leaky\n[route]\nlayers=0\ngroups=2\n",
            "layer 1 [route]: groups=2 (it ignores the key)",
        ),
        ("[convolutional]\nfilters=2\nactivation=leaky\n[shortcut]\nfrom=-1\nactivation=swish\n", "layer 1 [shortcut]"),
    ],
)
def test_misread_names_what_darknet_would_compute_differently(layers: str, problem: str) -> None:
    assert misread(parse_network(NET + layers + TAIL)).startswith(problem)
    assert misread(parse_network(HANDMADE_CFG)) == ""


def test_library_path_follows_the_environment(tmp_path: Path) -> None:
    (tmp_path / "lib.so").touch()
    assert library_path({"LIBDARKNET": str(tmp_path / "lib.so")}) == tmp_path / "lib.so"
    assert library_path({"LIBDARKNET": str(tmp_path / "gone.so")}) is None


def test_missing_library_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIBDARKNET", str(tmp_path / "gone.so"))
    with pytest.raises(EngineError, match="apt-get install darknet"):
        DarknetProcess(tmp_path / "a.cfg", tmp_path / "a.weights", threads=1)


CHILD = """
import json, sys
{before}
sys.stdin.buffer.readline()
print(json.dumps({size}), flush=True)
request = json.loads(sys.stdin.buffer.readline() or "{{}}")
sys.stdin.buffer.read(request.get("bytes", 0))
{answer}
"""
SIZE = {"shapes": [], "size": [2 * CELL, 2 * CELL]}


@pytest.fixture
def fake_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., DarknetProcess]:
    """A model, and a child of a test's own writing in place of libdarknet's; temporary files go to ``temporary``."""
    folder = write_handmade_model(tmp_path / "model")
    (tmp_path / "lib.so").touch()
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("LIBDARKNET", str(tmp_path / "lib.so"))
    monkeypatch.setattr(libdarknet_child, "__file__", str(tmp_path / "child.py"))
    monkeypatch.setattr(libdarknet.tempfile, "tempdir", str(tmp_path / "temporary"))

    def start(before: str = "", answer: str = "", size: dict[str, Any] = SIZE) -> DarknetProcess:
        (tmp_path / "child.py").write_text(CHILD.format(before=before, answer=answer, size=size))
        return DarknetProcess(folder / "cells.cfg", folder / "cells.weights", threads=1)

    return start


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"before": "sys.exit('cannot open it')"}, r"ended with exit code 1 at 'size': cannot open it"),
        ({"before": "import os; os.abort()"}, r"ended with exit code -6 at 'size'"),
        ({"size": {"shapes": [], "size": [1, 2]}}, r"read an input of \[1, 2\], not \[64, 64\]"),
        ({"size": {"shapes": []}}, r"read an input of None, not \[64, 64\]"),
    ],
)
def test_child_that_fails_to_start_is_an_error_and_leaves_nothing(
    fake_child: Callable[..., DarknetProcess], tmp_path: Path, parts: dict[str, Any], message: str
) -> None:
    with pytest.raises(EngineError, match=message):
        fake_child(**parts)
    assert list((tmp_path / "temporary").iterdir()) == []


def test_program_that_cannot_be_started_leaves_nothing(
    fake_child: Callable[..., DarknetProcess], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(libdarknet.sys, "executable", str(tmp_path / "gone"))
    with pytest.raises(FileNotFoundError):
        fake_child()
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("sys.exit(3)", r"ended with exit code 3 at 'layers'"),
        ("print('what?')", r"its answer to 'layers' is not JSON with shapes: 'what\?'"),
        ("print(json.dumps({'shapes': []}))", r"layers \[0\]: libdarknet gives \[\], not \["),
    ],
)
def test_answer_that_is_none_ends_the_child_and_leaves_nothing(
    fake_child: Callable[..., DarknetProcess], tmp_path: Path, answer: str, message: str
) -> None:
    process = fake_child(answer=answer)
    planes = to_planes(np.zeros((2 * CELL, 2 * CELL, 3), np.uint8))
    with pytest.raises(EngineError, match=message):
        process.layers(planes, [0])
    process.close()
    assert list((tmp_path / "temporary").iterdir()) == []
    with pytest.raises(EngineError, match="libdarknet: this process is closed"):
        process.layers(planes, [0])


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("print(json.dumps({'shapes': []}))", "a.jpg: libdarknet's answer has no boxes: KeyError"),
        ("print(json.dumps({'shapes': [], 'boxes': [[1]]}))", "a.jpg: libdarknet's answer has no boxes: TypeError"),
    ],
)
def test_boxes_of_another_form_are_an_error(
    fake_child: Callable[..., DarknetProcess], answer: str, message: str
) -> None:
    with pytest.raises(EngineError, match=message):
        fake_child(answer=answer).detect(Path("/a.jpg"))


def test_pictures_of_another_number_are_an_error(fake_child: Callable[..., DarknetProcess]) -> None:
    with pytest.raises(EngineError, match=r"a\.jpg: libdarknet gives 0 pictures, not two"):
        fake_child(answer="print(json.dumps({'shapes': []}))").letterbox(Path("/a.jpg"))


def test_running_process_has_no_files_and_a_forgotten_one_is_ended(
    fake_child: Callable[..., DarknetProcess], tmp_path: Path
) -> None:
    process = fake_child()
    child = process._pipe._child
    assert list((tmp_path / "temporary").iterdir()) == []
    assert child.poll() is None
    del process
    gc.collect()
    assert child.returncode == -signal.SIGKILL


@pytest.mark.darknet
def test_photo_that_darknet_cannot_decode_leaves_no_list_of_bad_photos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_handmade_model(tmp_path / "model")
    (tmp_path / "text.jpg").write_text("no photo")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    process = DarknetProcess(folder / "cells.cfg", folder / "cells.weights", threads=1)
    decoded, _ = process.letterbox(tmp_path / "text.jpg")
    assert decoded.shape == (3, 10, 10)  # what it goes on with
    assert b"text.jpg" in bytes(process._pipe._errors)
    assert list(tmp_path.rglob("bad.list")) == []


@pytest.mark.parametrize("name", ["a.jpg; touch gone", "$(touch gone).jpg", "a b.jpg", "ü.jpg", f"{'x' * 250}.jpg"])
def test_photo_whose_name_a_shell_would_read_never_reaches_darknet(
    fake_child: Callable[..., DarknetProcess], name: str
) -> None:
    process = fake_child()
    for ask in (process.detect, process.letterbox):
        with pytest.raises(EngineError, match="libdarknet takes paths of at most 200 letters"):
            ask(Path("/photos") / name)
    assert not process.is_closed


@pytest.mark.darknet
def test_darknet_ends_only_its_child_on_missing_weights(tmp_path: Path) -> None:
    folder = write_handmade_model(tmp_path)
    with pytest.raises(EngineError, match=r"libdarknet ended with exit code 0 at 'size': .*gone\.weights"):
        DarknetProcess(folder / "cells.cfg", folder / "gone.weights", threads=1)


@pytest.mark.darknet
def test_engine_gives_the_raw_heads_of_each_image_of_a_batch(tmp_path: Path) -> None:
    folder = write_handmade_model(tmp_path)
    engine = libdarknet.open_files(load_model_folder(folder), threads=1)
    images = np.random.default_rng(0).integers(0, 256, (2, 2 * CELL, 2 * CELL, 3), np.uint8)
    (heads,) = engine.run(images)
    assert heads.shape == (2, 7, 2, 2)
    means = images[..., 0].reshape(2, 2, CELL, 2, CELL).mean(axis=(2, 4)) / 255
    np.testing.assert_allclose(heads[:, 5], 20 * means - 10, atol=1e-4)


@pytest.mark.darknet
def test_engine_starts_another_child_after_one_that_ended(tmp_path: Path) -> None:
    engine = libdarknet.open_files(load_model_folder(write_handmade_model(tmp_path)), threads=1)
    images = np.random.default_rng(0).integers(0, 256, (1, 2 * CELL, 2 * CELL, 3), np.uint8)
    before = engine.run(images)
    engine._process._pipe._child.kill()
    with pytest.raises(EngineError, match=r"libdarknet ended with exit code -9 at 'layers'"):
        engine.run(images)
    np.testing.assert_array_equal(engine.run(images), before)


@pytest.mark.darknet
def test_layers_refuses_tensors_of_another_shape_and_close_ends_the_child(tmp_path: Path) -> None:
    folder = write_handmade_model(tmp_path)
    process = DarknetProcess(folder / "cells.cfg", folder / "cells.weights", threads=1)
    with pytest.raises(EngineError, match=r"float32 \[3, 64, 64\] is expected, found float32 \(3, 32, 64\)"):
        process.layers(to_planes(np.zeros((32, 64, 3), np.uint8)), [0])
    process.close()
    with pytest.raises(EngineError, match="this process is closed"):
        process.layers(to_planes(np.zeros((64, 64, 3), np.uint8)), [0])
