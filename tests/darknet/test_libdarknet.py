from __future__ import annotations

from pathlib import Path

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
import sys
{before}
sys.stdin.buffer.readline()
{answer}
sys.stdout.flush()
{after}
"""


@pytest.fixture
def fake_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A model, and a child of a test's own writing in place of libdarknet's."""
    folder = write_handmade_model(tmp_path / "model")
    (tmp_path / "lib.so").touch()
    monkeypatch.setenv("LIBDARKNET", str(tmp_path / "lib.so"))
    monkeypatch.setattr(libdarknet_child, "__file__", str(tmp_path / "child.py"))
    return folder, tmp_path / "child.py"


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"before": "sys.exit('cannot open it')"}, r"ended with exit code 1 at 'size': cannot open it"),
        ({"before": "import os; os.abort()"}, r"ended with exit code -6 at 'size'"),
        ({"answer": "print('x' * 2000000)"}, r"a line of its answer is above"),
        ({"answer": "print('{\"shapes\": [[1024, 1024, 1024]]}')"}, r"an answer of 4294967296 bytes is above"),
        ({"answer": 'print(\'{"shapes": [], "size": [1, 2]}\')'}, r"read an input of \[1, 2\], not \[64, 64\]"),
        ({"answer": "sys.stdin.buffer.read()"}, r"gave no answer to 'size' within 0.5 s"),
    ],
)
def test_child_that_fails_is_an_error_of_ours(
    fake_child: tuple[Path, Path], parts: dict[str, str], message: str
) -> None:
    folder, child = fake_child
    child.write_text(CHILD.format(**{"before": "", "answer": "", "after": "", **parts}))
    timeout_s = 0.5 if "no answer" in message else 30.0
    with pytest.raises(EngineError, match=message):
        DarknetProcess(folder / "cells.cfg", folder / "cells.weights", threads=1, timeout_s=timeout_s)


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
def test_layers_refuses_tensors_of_another_shape_and_close_ends_the_child(tmp_path: Path) -> None:
    folder = write_handmade_model(tmp_path)
    process = DarknetProcess(folder / "cells.cfg", folder / "cells.weights", threads=1)
    with pytest.raises(EngineError, match=r"float32 \[3, 64, 64\] is expected, found float32 \(3, 32, 64\)"):
        process.layers(to_planes(np.zeros((32, 64, 3), np.uint8)), [0])
    process.close()
    with pytest.raises(EngineError, match="this process is closed"):
        process.layers(to_planes(np.zeros((64, 64, 3), np.uint8)), [0])
