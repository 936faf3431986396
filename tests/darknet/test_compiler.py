from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_wrappers.darknet import reference
from model_wrappers.darknet.cfg import load_network, parse_network
from model_wrappers.darknet.compiler import compile_files, compile_network, fold_batch_norm
from model_wrappers.darknet.errors import WeightsError
from model_wrappers.darknet.layers import Network
from model_wrappers.darknet.provenance import CFG_KEY, WEIGHTS_KEY, file_sha256
from model_wrappers.darknet.random_weights import random_weights
from model_wrappers.darknet.weights import Parameters, Weights, load_weights
from tests.darknet.networks import TAIL, cfg_texts, write_handmade_model
from tests.data import SHARED_DATA

HANDMADE_SHA256 = "568c58b35956594afc12827e89b245beb8d97c337186a6f94bfeb7814ded2eb2"
TOLERANCE = 1e-4  # of the layer's largest value
ALL_WEIGHTS = [
    "MobileNetV2-YOLOv3-Nano-coco",
    "MobileNetV2-YOLOv3-Nano-voc",
    "yolo-fastest",
    "yolo-fastest-1.1",
    "yolo-fastest-1.1-xl",
    "yolo-fastest-1.1_body",
    "yolo-fastest-xl",
]


def _run(graph: bytes, pixels: np.ndarray) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    return session.run(None, {"images": pixels})


def _assert_layers_equal(network: Network, weights: Weights, pixels: np.ndarray) -> None:
    expected = reference.run(network, weights, pixels)
    found = _run(compile_network(network, weights, outputs=range(len(network.layers))), pixels[None])
    for layer, one, other in zip(network.layers, expected, found, strict=True):
        assert other.shape == (1, *layer.shape)
        worst = np.abs(one - other[0]).max()
        assert worst <= TOLERANCE * max(1e-3, np.abs(one).max()), (
            f"layer {layer.index} [{layer.kind}] differs by {worst}"
        )


@settings(max_examples=60, deadline=None)
@given(text=cfg_texts(), seed=st.integers(0, 1000))
def test_graph_equals_the_reference_in_every_layer_of_a_random_network(text: str, seed: int) -> None:
    network = parse_network(text)
    pixels = np.random.default_rng(seed).integers(0, 256, (network.input.height, network.input.width, 3), np.uint8)
    _assert_layers_equal(network, random_weights(network, seed), pixels)


LAYERS = {
    "reorg": "[reorg]\nstride=2\n",
    "reorg of 3": "[convolutional]\nfilters=18\nactivation=linear\n[reorg]\nstride=3\n",
    "reorg back": "[reorg]\nstride=2\nreverse=1\n",
    "spp": "[maxpool]\nsize=5\nstride=1\n[route]\nlayers=-2\n[maxpool]\nsize=9\nstride=1\n[route]\nlayers=-1,-3,0\n",
    "padded pool": "[maxpool]\nsize=3\nstride=2\npadding=1\n",
    "second half": "[route]\nlayers=-1\ngroups=2\ngroup_id=1\n",
    "depthwise": "[convolutional]\ngroups=8\nfilters=16\nsize=5\npad=1\nstride=2\nbatch_normalize=1\nactivation=mish\n",
    "stride without size": "[convolutional]\nfilters=4\nsize=1\nstride=2\nactivation=swish\n",
    "shortcut": "[convolutional]\nfilters=8\nactivation=relu6\n[shortcut]\nfrom=-2\nactivation=leaky\n",
    "scaled upsample": "[upsample]\nstride=3\nscale=.5\n",
}


@pytest.mark.parametrize("layers", LAYERS.values(), ids=LAYERS)
def test_graph_equals_the_reference_in_each_kind_of_layer(layers: str) -> None:
    network = parse_network(
        "[net]\nwidth=18\nheight=12\nchannels=3\n"
        f"[convolutional]\nfilters=8\nsize=3\npad=1\nactivation=leaky\n{layers}{TAIL}"
    )
    pixels = np.random.default_rng(2).integers(0, 256, (12, 18, 3), np.uint8)
    _assert_layers_equal(network, random_weights(network, 2), pixels)


@pytest.mark.data
@pytest.mark.parametrize("name", ALL_WEIGHTS)
def test_graph_equals_the_reference_in_every_layer_of_published_weights(name: str) -> None:
    network = load_network(SHARED_DATA / "cfg" / f"{name}.cfg")
    weights = load_weights(SHARED_DATA / "weights" / f"{name}.weights", network)
    pixels = np.random.default_rng(7).integers(0, 256, (network.input.height, network.input.width, 3), np.uint8)
    _assert_layers_equal(network, weights, pixels)


@pytest.mark.data
@pytest.mark.parametrize("name", ["yolov3-tiny", "yolov2-tiny"])
def test_graph_equals_the_reference_in_networks_without_published_weights(name: str) -> None:
    network = load_network(SHARED_DATA / "cfg" / f"{name}.cfg")
    pixels = np.random.default_rng(7).integers(0, 256, (network.input.height, network.input.width, 3), np.uint8)
    _assert_layers_equal(network, random_weights(network), pixels)


def test_graph_gives_a_batch_the_answers_of_its_single_images(tmp_path: Path) -> None:
    folder = write_handmade_model(tmp_path)
    graph = compile_files(folder / "cells.cfg", folder / "cells.weights")
    batch = np.random.default_rng(3).integers(0, 256, (3, 64, 64, 3), np.uint8)
    (together,) = _run(graph, batch)
    alone = np.concatenate([_run(graph, image[None])[0] for image in batch])
    np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-5)


def test_compile_gives_the_same_bytes_twice_and_names_its_sources(tmp_path: Path) -> None:
    folder = write_handmade_model(tmp_path)
    cfg, weights = folder / "cells.cfg", folder / "cells.weights"
    graph = compile_files(cfg, weights)
    assert graph == compile_files(cfg, weights)
    model = onnx.load_from_string(graph)
    onnx.checker.check_model(model, full_check=True)
    assert {each.key: each.value for each in model.metadata_props} == {
        CFG_KEY: file_sha256(cfg),
        WEIGHTS_KEY: file_sha256(weights),
    }


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_compile_gives_known_bytes_in_another_process(tmp_path: Path, hash_seed: str) -> None:
    """A model's digest hangs on them: a change of the compiler, or of onnx, that alters the bytes must be meant."""
    folder = write_handmade_model(tmp_path)
    files = str(folder / "cells.cfg"), str(folder / "cells.weights"), str(folder / "out.onnx")
    subprocess.run(
        [sys.executable, "-m", "model_wrappers.darknet", "convert", *files],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        check=True,
        timeout=50,
    )
    assert hashlib.sha256((folder / "out.onnx").read_bytes()).hexdigest() == HANDMADE_SHA256


def test_compile_refuses_a_file_of_any_size_before_it_is_hashed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_handmade_model(tmp_path)
    os.truncate(folder / "cells.weights", 100 << 30)  # sparse: hashing it would take minutes
    monkeypatch.setattr("model_wrappers.darknet.compiler.file_sha256", lambda _: pytest.fail("it was hashed"))
    with pytest.raises(WeightsError, match="at most 2000000000 are read"):
        compile_files(folder / "cells.cfg", folder / "cells.weights")


@settings(max_examples=15, deadline=None)
@given(text=cfg_texts())
def test_graph_is_read_by_opencv(text: str) -> None:
    network = parse_network(text)
    weights = random_weights(network)
    graph = compile_network(network, weights)
    pixels = np.random.default_rng(1).integers(0, 256, (1, network.input.height, network.input.width, 3), np.uint8)
    net = cv2.dnn.readNetFromONNX(np.frombuffer(graph, np.uint8))
    net.setInput(pixels.astype(np.float32))
    expected = _run(graph, pixels)[0]
    np.testing.assert_allclose(net.forward(), expected, atol=1e-3 * max(1, np.abs(expected).max()))


def test_fold_adds_epsilon_to_the_deviation_as_pjreddie_does() -> None:
    one = np.ones(1, np.float32)
    kernels, biases = fold_batch_norm(
        Parameters(one, one, one, np.zeros(1, np.float32), np.full((1, 1, 1, 1), 2, "f4"))
    )
    np.testing.assert_allclose(kernels.ravel(), [2e6], rtol=1e-6)
    np.testing.assert_allclose(biases, [1 - 1e6], rtol=1e-6)


def test_compile_refuses_batch_norm_that_overflows() -> None:
    network = parse_network(
        "[net]\nwidth=4\nheight=4\nchannels=3\n[convolutional]\nfilters=6\nbatch_normalize=1\nactivation=linear\n"
        "[yolo]\nanchors=1,1\nclasses=1\n"
    )
    weights = random_weights(network)
    found = weights.parameters[0]
    found.scales[:], found.variances[:] = 3e38, 0
    with pytest.raises(WeightsError, match=r"layer 0 \[convolutional\]: batch norm overflows float32"):
        compile_network(network, weights)
