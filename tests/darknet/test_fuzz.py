"""Whatever stands in a file, the readers answer with a value or a DarknetError, soon and in little memory.

``corpus`` holds files that once were, or well could be, trouble; hypothesis makes more of them by cutting and joining. A
file that breaks a reader is added to the corpus with its fix.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from model_wrappers.darknet import reference
from model_wrappers.darknet.cfg import load_network, parse_network
from model_wrappers.darknet.check import check
from model_wrappers.darknet.compiler import compile_network
from model_wrappers.darknet.engines.libdarknet import misread
from model_wrappers.darknet.errors import CfgError, DarknetError
from model_wrappers.darknet.names import load_names
from model_wrappers.darknet.provenance import graph_metadata
from model_wrappers.darknet.random_weights import random_weights
from model_wrappers.darknet.weights import MAX_WEIGHTS_BYTES, count_floats, load_weights
from tests.darknet.fuzzing import EXAMPLES, mutated, read_bounded
from tests.darknet.networks import cfg_texts

CORPUS = Path(__file__).parent / "corpus"
CFG = "[net]\nwidth=8\nheight=8\nchannels=3\n[convolutional]\nfilters=7\nactivation=linear\n[yolo]\nanchors=4,4\nclasses=2\n"
KINDS = ("cfg", "weights", "names")
FILES = sorted(path.relative_to(CORPUS).as_posix() for path in CORPUS.rglob("*.*"))
SEEDS = {kind: [(CORPUS / name).read_bytes() for name in FILES if name.startswith(kind)] for kind in KINDS}
MAX_RUN_ELEMENTS = 1 << 17  # of a network that a test runs
MAX_RUN_FLOATS = 1 << 16


def read_cfg(path: Path) -> None:
    network = load_network(path)
    assert count_floats(network) >= 0
    assert isinstance(misread(network), str)
    assert len(network.heads) >= 1


def read_weights(path: Path) -> None:
    network = parse_network(CFG)
    assert load_weights(path, network).parameters[0].kernels.shape == (7, 3, 1, 1)


def read_names(path: Path) -> None:
    assert all(name.isprintable() and name for name in load_names(path))


def read_graph(path: Path) -> None:
    assert isinstance(graph_metadata(path), dict)


READERS: dict[str, Callable[[Path], None]] = {"cfg": read_cfg, "weights": read_weights, "names": read_names}


ACCEPTED = {
    "cfg/all-keys.cfg",
    "cfg/byte-order-mark.cfg",
    "cfg/every-layer.cfg",
    "cfg/exponent.cfg",
    "cfg/largest-input.cfg",
    "cfg/no-last-newline.cfg",
    "cfg/region.cfg",
    "cfg/spaces.cfg",
    "cfg/windows-lines.cfg",
    "names/good.names",
    "names/many.names",
    "names/mark.names",
    "names/script.names",
    "names/windows.names",
    "weights/denormal.weights",
    "weights/good.weights",
    "weights/narrow-header.weights",
    "weights/zeros.weights",
}


@pytest.mark.parametrize("name", FILES)
def test_corpus_file_is_read_or_refused_by_name(name: str) -> None:
    path = CORPUS / name
    answer = read_bounded(READERS[name.split("/", maxsplit=1)[0]], path, DarknetError)
    assert (answer == "") == (name in ACCEPTED), answer
    assert answer == "" or str(path) in answer
    assert len(answer) < 500 + len(str(path))


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_mutated_file_is_read_or_refused_by_name(tmp_path: Path, kind: str, data: st.DataObject) -> None:
    path = tmp_path / f"mutated.{kind}"
    path.write_bytes(data.draw(mutated(SEEDS[kind])))
    answer = read_bounded(READERS[kind], path, DarknetError)
    assert answer == "" or str(path) in answer
    assert len(answer) < 500 + len(str(path))


@st.composite
def edited_cfgs(draw: st.DrawFn) -> str:
    """A good cfg with a few lines changed: another number, a line less, a line of another place."""
    good = [(CORPUS / name).read_text() for name in sorted(ACCEPTED) if name.endswith(("layer.cfg", "keys.cfg"))]
    lines = draw(st.one_of(cfg_texts(), st.sampled_from(good))).splitlines()
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(lines) - 1))
        edits = [re.sub(r"[0-9]+$", str(draw(st.integers(0, 9))), lines[place])]
        edits += ["", draw(st.sampled_from(lines)), lines[place] + "\n" + draw(st.sampled_from(lines))]
        lines[place] = draw(st.sampled_from(edits))
    return "\n".join(lines)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(text=edited_cfgs(), seed=st.integers(0, 9))
def test_edited_cfg_that_is_accepted_computes_what_the_reference_does(text: str, seed: int) -> None:
    try:
        network = parse_network(text)
    except CfgError:
        return
    assume(sum(layer.shape.elements for layer in network.layers) <= MAX_RUN_ELEMENTS)
    assume(network.input.elements <= MAX_RUN_ELEMENTS and count_floats(network) <= MAX_RUN_FLOATS)
    weights = random_weights(network, seed)
    graph = compile_network(network, weights, outputs=range(len(network.layers)))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(graph, options, ["CPUExecutionProvider"])
    pixels = np.random.default_rng(seed).integers(0, 256, (*network.input[1:], 3), np.uint8)
    found = session.run(None, {"images": pixels[None]})
    for layer, one, expected in zip(network.layers, found, reference.run(network, weights, pixels), strict=True):
        assert one.shape == (1, *layer.shape)
        assert np.abs(one[0] - expected).max() <= 1e-4 * max(1e-3, np.abs(expected).max()), layer


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.one_of(st.binary(max_size=300), mutated(SEEDS["weights"])))
def test_metadata_of_any_bytes_is_a_mapping(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "any.onnx"
    path.write_bytes(data)
    assert read_bounded(read_graph, path, DarknetError) == ""


def test_weights_larger_than_any_model_are_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "sparse.weights"
    with path.open("wb") as file:
        file.write((CORPUS / "weights" / "good.weights").read_bytes())
        file.truncate(MAX_WEIGHTS_BYTES * 2)
    assert f"at most {MAX_WEIGHTS_BYTES} are read" in read_bounded(read_weights, path, DarknetError)


def test_swapped_files_are_refused_in_every_order(tmp_path: Path) -> None:
    paths = {kind: CORPUS / kind / f"{'every-layer' if kind == 'cfg' else 'good'}.{kind}" for kind in KINDS}
    for cfg, weights, names in (("weights", "cfg", "names"), ("names", "weights", "cfg"), ("cfg", "names", "weights")):
        with pytest.raises(DarknetError, match="swapped|before any|not even a header"):
            check(paths[cfg], paths[weights], paths[names])
