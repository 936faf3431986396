"""Weights of a network that nobody trained: for timing it, which does not depend on them, and for comparing programs."""

from __future__ import annotations

import numpy as np

from model_wrappers.darknet.layers import Convolutional, Network
from model_wrappers.darknet.weights import Parameters, Weights, WeightsHeader, kernel_shape


def random_weights(network: Network, seed: int = 0) -> Weights:
    """Seeded weights that keep activations near 1."""
    rng = np.random.default_rng(seed)
    parameters = {}
    for layer in network.layers:
        if isinstance(layer.op, Convolutional):
            shape = kernel_shape(network, layer)
            norm = shape[0] if layer.op.batch_normalize else 0
            parameters[layer.index] = Parameters(
                biases=rng.normal(0, 0.5, shape[0]).astype(np.float32),
                scales=rng.uniform(0.5, 1.5, norm).astype(np.float32),
                means=rng.normal(0, 0.5, norm).astype(np.float32),
                variances=rng.uniform(0.1, 2, norm).astype(np.float32),
                kernels=(rng.normal(0, 1, shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32),
            )
    return Weights(WeightsHeader(seen=seed), parameters)
