"""The parts of benchmarks/engines.py that decide what its numbers mean."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks import engines, sgemm
from model_wrappers.darknet.cfg import load_network, parse_network
from tests.data import SHARED_DATA

CFG = """[net]
width=32
height=16
channels=3
[convolutional]
filters=8
size=3
stride=2
pad=1
activation=leaky
[convolutional]
filters=7
activation=linear
[yolo]
anchors=4,4
classes=2
"""


def test_every_round_runs_each_once_and_another_one_first() -> None:
    ran: list[str] = []
    runs = {name: (lambda name=name: ran.append(name)) for name in "abc"}
    times = engines.interleave(runs, 4, {"b": 2})
    assert "".join(ran) == "abc" + "abc" + "bca" + "ca" + "ac"
    assert {name: len(seconds) for name, seconds in times.items()} == {"a": 4, "b": 2, "c": 4}
    assert "b" not in engines.interleave(runs, 1, {"b": 0})


def _found(**seconds: float) -> dict[str, Any]:
    return {
        "gflop": 10.0,
        "sgemm_gflops": {"numpy, 4 x 4 x 4": 50.0, "onnxruntime, 4 x 4 x 4": 100.0},
        "seconds": {name.replace("_", " "): [value] for name, value in seconds.items()},
    }


@pytest.mark.parametrize(
    ("network", "ours", "missed"),
    [
        ("yolov3", 0.11, []),
        ("yolov3-tiny", 0.11, []),
        ("yolov3-tiny", 0.12, ["ours takes 1.20 x the best: at most 1.1 is allowed"]),
        (
            "yolov3",
            0.2,
            [
                "ours takes 2.00 x the best: at most 1.1 is allowed",
                "ours reaches 50% of SGEMM: at least 85% is expected",
            ],
        ),
    ],
)
def test_faults_are_told_against_the_best_engine_and_the_best_rate(
    network: str, ours: float, missed: list[str]
) -> None:
    found = _found(openvino=0.1, darknet=3.0)
    found["seconds"] |= {"ours (onnxruntime)": [ours], engines.INT8: [0.01]}
    assert engines.faults(network, found) == missed


def test_table_lists_contenders_fastest_first_and_leaves_8_bits_out_of_the_shares() -> None:
    found = _found(openvino=0.1)
    found["seconds"] |= {"ours (onnxruntime)": [0.125], engines.INT8: [0.05]}
    rows = [line for line in engines._render_network("yolov3", found) if line.startswith("| ")]
    assert rows[1:] == [
        "| int8 (onnxruntime) | 50.0 | 1 | 0.50 |  |",
        "| openvino | 100.0 | 1 | 1.00 | 100% |",
        "| ours (onnxruntime) | 125.0 | 1 | 1.25 | 80% |",
    ]


def test_products_are_those_of_the_convolutions() -> None:
    network = parse_network(CFG)
    assert sgemm.convolutions_gflop(network) == pytest.approx(2e-9 * (8 * 27 * 8 * 16 + 7 * 8 * 8 * 16))
    assert [one.rows for one in sgemm.products(network)] == list(sgemm.SQUARES)  # its own are tiny


@pytest.mark.data
def test_gflop_of_yolov3_tiny_is_the_published_one() -> None:
    network = load_network(SHARED_DATA / "cfg" / "yolov3-tiny.cfg")
    assert sgemm.convolutions_gflop(network) == pytest.approx(5.56, abs=0.02)  # pjreddie.com/darknet/yolo: 5.56 Bn


def test_each_library_computes_the_product() -> None:
    product = sgemm.Product(3, 4, 5)
    for library, run in sgemm.runs(product, threads=1):
        result = run()
        found = (
            result[0] if library == "onnxruntime" else next(iter(result.values())) if library == "openvino" else result
        )
        assert np.shape(found) == (3, 5)
