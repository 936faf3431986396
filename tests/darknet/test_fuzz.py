"""Whatever stands in a file, the readers answer with a value or a DarknetError, soon and in little memory.

``corpus`` holds files that once were, or well could be, trouble; hypothesis makes more of them by cutting and joining. A
file that breaks a reader is added to the corpus with its fix.
"""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model_wrappers.darknet.cfg import load_network, parse_network
from model_wrappers.darknet.check import check
from model_wrappers.darknet.engines.libdarknet import misread
from model_wrappers.darknet.errors import DarknetError
from model_wrappers.darknet.names import load_names
from model_wrappers.darknet.provenance import graph_metadata
from model_wrappers.darknet.weights import MAX_WEIGHTS_BYTES, count_floats, load_weights

CORPUS = Path(__file__).parent / "corpus"
CFG = "[net]\nwidth=8\nheight=8\nchannels=3\n[convolutional]\nfilters=7\nactivation=linear\n[yolo]\nanchors=4,4\nclasses=2\n"
MAX_SECONDS = 5.0  # of one file on a busy machine; each takes milliseconds
MAX_BYTES = 64 << 20
KINDS = ("cfg", "weights", "names")
FILES = sorted(path.relative_to(CORPUS).as_posix() for path in CORPUS.rglob("*.*"))
SEEDS = {kind: [(CORPUS / name).read_bytes() for name in FILES if name.startswith(kind)] for kind in KINDS}
LONGEST = 4096  # bytes of a corpus file that mutations start from


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


def read_bounded(read: Callable[[Path], None], path: Path) -> str:
    """What the reader says of the file; empty if it accepts it."""
    tracemalloc.start()
    started = time.monotonic()
    try:
        read(path)
    except DarknetError as exc:
        return str(exc)
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < MAX_BYTES
        assert time.monotonic() - started < MAX_SECONDS
    return ""


ACCEPTED = {
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
    answer = read_bounded(READERS[name.split("/", maxsplit=1)[0]], path)
    assert (answer == "") == (name in ACCEPTED), answer
    assert answer == "" or str(path) in answer
    assert len(answer) < 2000 + len(str(path))


@st.composite
def mutated(draw: st.DrawFn, kind: str) -> bytes:
    """A corpus file with a few pieces cut, doubled, replaced, or taken from another one."""
    seeds = [seed for seed in SEEDS[kind] if len(seed) <= LONGEST]
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(0, 5))):
        first = draw(st.integers(0, len(data)))
        last = draw(st.integers(first, min(len(data), first + 40)))
        other = draw(st.sampled_from(seeds))
        start = draw(st.integers(0, len(other)))
        piece = draw(
            st.one_of(
                st.just(b""),
                st.binary(max_size=8),
                st.sampled_from([b"-", b"99999999999", b"0", b"\n", b"=", b"[", b",", b"\xff", b"\0", b"nan", b"1e9"]),
                st.just(data[first:last] * 2),
                st.just(other[start : start + 40]),
            )
        )
        data = data[:first] + piece + data[last:]
    return data


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_mutated_file_is_read_or_refused_by_name(tmp_path: Path, kind: str, data: st.DataObject) -> None:
    path = tmp_path / f"mutated.{kind}"
    path.write_bytes(data.draw(mutated(kind)))
    answer = read_bounded(READERS[kind], path)
    assert answer == "" or str(path) in answer


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.one_of(st.binary(max_size=300), mutated("weights")))
def test_metadata_of_any_bytes_is_a_mapping(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "any.onnx"
    path.write_bytes(data)
    assert read_bounded(read_graph, path) == ""


def test_weights_larger_than_any_model_are_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "sparse.weights"
    with path.open("wb") as file:
        file.write((CORPUS / "weights" / "good.weights").read_bytes())
        file.truncate(MAX_WEIGHTS_BYTES * 2)
    assert f"at most {MAX_WEIGHTS_BYTES} are read" in read_bounded(read_weights, path)


def test_swapped_files_are_refused_in_every_order(tmp_path: Path) -> None:
    paths = {kind: CORPUS / kind / f"{'every-layer' if kind == 'cfg' else 'good'}.{kind}" for kind in KINDS}
    for cfg, weights, names in (("weights", "cfg", "names"), ("names", "weights", "cfg"), ("cfg", "names", "weights")):
        with pytest.raises(DarknetError, match="swapped|before any|not even a header"):
            check(paths[cfg], paths[weights], paths[names])
