"""ONNX Runtime's build with CUDA is asked for the GPU, and it is said where there is none; here without a GPU."""

from __future__ import annotations

from typing import Any

import onnxruntime
import pytest

from model_wrappers.darknet.engines import onnx_runtime
from models.shapes.evaluate import shapes_model

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
Session = onnxruntime.InferenceSession


@pytest.fixture
def build_with_cuda(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is asked of it: the libraries, then the providers of each session; it has the CPU only to give."""
    asked: list[Any] = []

    def session(source: Any, options: Any, *, providers: list[Any]) -> Any:
        asked.append(providers)
        return Session(source, options, providers=[CPU])

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: asked.append("libraries"))
    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    return asked


def test_the_gpu_is_asked_for_first_with_whole_float32(
    build_with_cuda: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    onnx_runtime.open_files(shapes_model(1), threads=1)
    assert build_with_cuda == ["libraries", [(CUDA, {"use_tf32": "0"}), CPU]]
    assert "it runs on the CPU" in caplog.text


def test_a_build_without_cuda_is_asked_for_the_cpu_only(caplog: pytest.LogCaptureFixture) -> None:
    engine = onnx_runtime.open_files(shapes_model(1), threads=1)
    assert engine._session.get_providers() == [CPU]
    assert caplog.text == ""
