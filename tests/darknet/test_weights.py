from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_wrappers.darknet.cfg import load_network, parse_network
from model_wrappers.darknet.errors import WeightsError
from model_wrappers.darknet.layers import Network
from model_wrappers.darknet.random_weights import random_weights
from model_wrappers.darknet.weights import (
    Parameters,
    Weights,
    WeightsHeader,
    count_floats,
    load_weights,
    write_weights,
)
from tests.darknet.networks import cfg_texts
from tests.data import SHARED_DATA

CFG = """[net]
width=8
height=8
channels=3
[convolutional]
filters=4
size=3
pad=1
batch_normalize=1
activation=leaky
[convolutional]
filters=6
activation=linear
[yolo]
anchors=1,1
classes=1
"""
FLOATS = 4 * 27 + 4 * 4 + 6 * 4 + 6


@pytest.fixture
def network() -> Network:
    return parse_network(CFG, path="x.cfg")


@pytest.fixture
def path(tmp_path: Path, network: Network) -> Path:
    file = tmp_path / "x.weights"
    write_weights(file, network, random_weights(network, 5))
    return file


@settings(max_examples=25, deadline=None)
@given(text=cfg_texts(), seed=st.integers(0, 2**32))
def test_weights_written_are_read_back_equal(tmp_path_factory: pytest.TempPathFactory, text: str, seed: int) -> None:
    network = parse_network(text)
    written = random_weights(network, seed)
    file = tmp_path_factory.mktemp("weights") / "a.weights"
    write_weights(file, network, written)
    read = load_weights(file, network)
    assert read.header == written.header
    assert file.stat().st_size == 20 + 4 * count_floats(network)
    for index, found in written.parameters.items():
        for part in ("biases", "scales", "means", "variances", "kernels"):
            np.testing.assert_array_equal(getattr(read.parameters[index], part), getattr(found, part))


def test_load_follows_darknets_order(tmp_path: Path, network: Network) -> None:
    file = tmp_path / "x.weights"
    file.write_bytes(struct.pack("<iiiQ", 0, 2, 5, 12) + np.arange(FLOATS, dtype="<f4").tobytes())
    weights = load_weights(file, network)
    first, second = weights.parameters[0], weights.parameters[1]
    assert weights.header == WeightsHeader(0, 2, 5, 12)
    assert [first.biases[0], first.scales[0], first.means[0], first.variances[0]] == [0, 4, 8, 12]
    assert first.kernels[1, 0, 0, 0] == 16 + 27
    assert (second.biases[0], second.kernels[0, 0, 0, 0]) == (16 + 108, 16 + 108 + 6)


@pytest.mark.parametrize(("major", "minor", "size"), [(0, 1, 16), (0, 2, 20), (1, 0, 20)])
def test_header_is_wide_from_version_0_2_on(
    tmp_path: Path, network: Network, major: int, minor: int, size: int
) -> None:
    file = tmp_path / "x.weights"
    weights = random_weights(network)
    write_weights(file, network, Weights(WeightsHeader(major, minor, 0, 7), weights.parameters))
    assert file.stat().st_size == size + 4 * FLOATS
    read = load_weights(file, network)
    assert read.header.seen == 7
    np.testing.assert_array_equal(read.parameters[1].kernels, weights.parameters[1].kernels)


def test_load_refuses_a_cut_file_and_names_expected_found_and_layer(path: Path, network: Network) -> None:
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(WeightsError) as caught:
        load_weights(path, network)
    expected = 20 + 4 * FLOATS
    assert str(caught.value) == (
        f"{path}: expected {expected} bytes, found {expected - 4} (x.cfg implies {FLOATS} floats): "
        "cut off in or before layer 1 [convolutional], or of another cfg"
    )


def test_load_refuses_a_longer_file(path: Path, network: Network) -> None:
    path.write_bytes(path.read_bytes() + b"\x00")
    with pytest.raises(WeightsError, match=r"found 637 .*: longer than the cfg implies: of another cfg"):
        load_weights(path, network)


MISTAKEN = [
    ("empty", b"", "has 0 bytes: not even a header"),
    ("page", b"<html><body>Not found" + b" " * 100, "is an HTML page, not Darknet weights"),
    ("cfg", CFG.encode(), "is a cfg, not weights: are the files swapped?"),
    ("pointer", b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
    ("graph", b"\x08\x08\x12\x16model_wrappers.darknet:", "is an ONNX graph, not Darknet weights"),
    ("archive", b"PK\x03\x04" + b"\x00" * 100, "is a ZIP archive"),
    ("names", b"person\nbicycle\ncar\nmotorbike\n", "is text, not Darknet weights: is it swapped with the names?"),
    ("transposed", struct.pack("<iiiQ", 1001, 0, 0, 0), "starts with version 1001.0.0"),
    ("header only", struct.pack("<iiii", 0, 2, 0, 0), "the header of version 0.2 alone has 20"),
]


@pytest.mark.parametrize(("data", "message"), [case[1:] for case in MISTAKEN], ids=[case[0] for case in MISTAKEN])
def test_load_says_what_the_file_is_instead(path: Path, network: Network, data: bytes, message: str) -> None:
    path.write_bytes(data)
    with pytest.raises(WeightsError) as caught:
        load_weights(path, network)
    assert message in str(caught.value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_load_refuses_numbers_that_are_not_finite(path: Path, network: Network, value: float) -> None:
    data = bytearray(path.read_bytes())
    struct.pack_into("<f", data, 20 + 4 * (16 + 108 + 6 + 3), value)
    path.write_bytes(data)
    with pytest.raises(WeightsError, match=r"layer 1 \[convolutional\]: kernels\[0, 3, 0, 0\] is not a finite number"):
        load_weights(path, network)


def test_load_refuses_a_negative_variance(path: Path, network: Network) -> None:
    data = bytearray(path.read_bytes())
    struct.pack_into("<f", data, 20 + 4 * 14, -0.5)
    path.write_bytes(data)
    with pytest.raises(WeightsError, match=r"layer 0 \[convolutional\]: variances\[2\] is below 0"):
        load_weights(path, network)


def test_load_refuses_what_is_no_regular_file(tmp_path: Path, network: Network) -> None:
    os.mkfifo(tmp_path / "pipe.weights")
    for path in (tmp_path, tmp_path / "pipe.weights", Path("/dev/zero")):
        with pytest.raises(WeightsError, match=f"{path}: cannot be read: (is no regular file|Is a directory)"):
            load_weights(path, network)


def test_load_names_a_missing_file(tmp_path: Path, network: Network) -> None:
    with pytest.raises(WeightsError, match="cannot be read: No such file"):
        load_weights(tmp_path / "none.weights", network)


def test_write_refuses_arrays_that_do_not_fit(tmp_path: Path, network: Network) -> None:
    weights = random_weights(network)
    found = weights.parameters[1]
    weights.parameters[1] = Parameters(found.biases[:5], found.scales, found.means, found.variances, found.kernels)
    with pytest.raises(
        WeightsError, match=r"layer 1 \[convolutional\]: expected \(6, 0, 0, 0, 24\) floats, found \(5,"
    ):
        write_weights(tmp_path / "x.weights", network, weights)
    del weights.parameters[1]
    with pytest.raises(WeightsError, match=r"layer 1 \[convolutional\] has no parameters"):
        write_weights(tmp_path / "x.weights", network, weights)
    assert not (tmp_path / "x.weights").exists()


@given(data=st.binary(max_size=700))
def test_load_answers_any_bytes_with_a_weights_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = tmp_path_factory.mktemp("weights") / "a.weights"
    file.write_bytes(data)
    with pytest.raises(WeightsError):
        load_weights(file, parse_network(CFG))


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "floats", "seen"),
    [
        ("yolo-fastest", 356_406, 8_000_000),
        ("yolo-fastest-xl", 912_686, 18_627_200),
        ("yolo-fastest-1.1", 346_062, 14_231_680),
        ("yolo-fastest-1.1-xl", 923_486, 16_000_000),
        ("yolo-fastest-1.1_body", 294_396, 13_326_656),
        ("MobileNetV2-YOLOv3-Nano-coco", 891_070, 14_547_712),
        ("MobileNetV2-YOLOv3-Nano-voc", 769_750, 1_648_384),
    ],
)
def test_load_reads_published_weights(name: str, floats: int, seen: int) -> None:
    network = load_network(SHARED_DATA / "cfg" / f"{name}.cfg")
    assert count_floats(network) == floats
    assert load_weights(SHARED_DATA / "weights" / f"{name}.weights", network).header == WeightsHeader(0, 2, 5, seen)


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "floats"), [("yolov3-tiny", 8_858_734), ("yolov3", 62_001_757), ("yolov2-tiny", 11_237_145)]
)
def test_count_of_published_cfgs_is_that_of_their_weights(name: str, floats: int) -> None:
    assert count_floats(load_network(SHARED_DATA / "cfg" / f"{name}.cfg")) == floats


def yolov4_tiny_cfg() -> str:
    """The layers of AlexeyAB's yolov4-tiny.cfg, with the keys that its file has."""

    def convolution(filters: int, size: int, stride: int = 1) -> str:
        norm = "" if filters == 255 else "batch_normalize=1\n"
        activation = "linear" if filters == 255 else "leaky"
        return (
            f"[convolutional]\n{norm}filters={filters}\nsize={size}\nstride={stride}\npad=1\nactivation={activation}\n"
        )

    def head(mask: str) -> str:
        anchors = "10,14,  23,27,  37,58,  81,82,  135,169,  344,319"
        training = "jitter=.3\ncls_normalizer=1.0\niou_normalizer=0.07\niou_loss=ciou\nresize=1.5\nrandom=0\n"
        nms = "nms_kind=greedynms\nbeta_nms=0.6\n"
        return f"[yolo]\nmask={mask}\nanchors={anchors}\nclasses=80\nnum=6\nscale_x_y = 1.05\n{training}{nms}"

    text = "[net]\nwidth=416\nheight=416\nchannels=3\n" + convolution(32, 3, 2) + convolution(64, 3, 2)
    for filters in (64, 128, 256):
        half = "[route]\nlayers=-1\ngroups=2\ngroup_id=1\n" + convolution(filters // 2, 3) * 2
        text += convolution(filters, 3) + half + "[route]\nlayers=-1,-2\n" + convolution(filters, 1)
        text += "[route]\nlayers=-6,-1\n[maxpool]\nsize=2\nstride=2\n"
    text += convolution(512, 3) + convolution(256, 1) + convolution(512, 3) + convolution(255, 1) + head("3,4,5")
    text += "[route]\nlayers=-4\n" + convolution(128, 1) + "[upsample]\nstride=2\n[route]\nlayers=-1,23\n"
    return text + convolution(256, 3) + convolution(255, 1) + head("0,1,2")


def test_count_of_yolov4_tiny_is_that_of_its_published_weights() -> None:
    network = parse_network(yolov4_tiny_cfg())
    assert 20 + 4 * count_floats(network) == 24_251_276
    assert [tuple(head.shape) for head in network.heads] == [(255, 13, 13), (255, 26, 26)]


@pytest.mark.data
def test_load_refuses_weights_of_another_cfg() -> None:
    network = load_network(SHARED_DATA / "cfg" / "yolo-fastest-1.1-xl.cfg")
    with pytest.raises(WeightsError, match="expected 3693964 bytes, found 1384268"):
        load_weights(SHARED_DATA / "weights" / "yolo-fastest-1.1.weights", network)
