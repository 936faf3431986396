"""Engines on one machine, interleaved: milliseconds per photo, share of the SGEMM rate, INT8, and the photo's own way.

    python benchmarks/engines.py                              # yolov3-tiny and yolov3 at 416, 20 rounds, one thread
    python benchmarks/engines.py --networks yolov3-tiny --rounds 50 --threads 2 --json engines.json

Cfgs come from ../shared/data, weights are seeded random ones: time does not depend on their values. Every contender gets
the same letterboxed photo: Darknet in libdarknet, OpenCV by its own Darknet importer, ONNX Runtime and OpenVINO on the
compiled graph with their defaults (OpenVINO in float32), and ours: what ``engine: auto`` picks. Slow contenders run
``--slow-rounds`` rounds. SGEMM is the faster of numpy's and ONNX Runtime's product of 2048 x 2048 matrices.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED_DATA = Path(os.environ.get("SLIPWAY_SHARED", REPOSITORY.parent / "shared")) / "data"
SIDE = 416
SLOW_FACTOR = 8.0
SGEMM_SIDE = 2048
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
SEED = 1
CALIBRATION_PHOTOS = 32

Run = Callable[[], Any]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=["yolov3-tiny", "yolov3"], choices=["yolov3-tiny", "yolov3"])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--slow-rounds", type=int, default=3, help=f"of what is {SLOW_FACTOR:g} times the best")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--skip", nargs="*", default=[], help="contenders to leave out, e.g. darknet")
    parser.add_argument("--json", type=Path, help="write the raw times to this file")
    arguments = parser.parse_args()
    if os.environ.get(THREAD_VARIABLES[0]) != str(arguments.threads):  # numpy reads them when it is imported
        environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(arguments.threads))}
        return subprocess.run([sys.executable, *sys.argv], env=environment, check=False).returncode
    sys.path.insert(0, str(REPOSITORY))
    results = {"machine": machine(arguments.threads), "networks": {}, "photo_ms": photo_path()}
    for name in arguments.networks:
        results["networks"][name] = measure_network(name, arguments)
    results["int8_map"] = int8_precision()
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")
    print(render(results))
    return 0


def machine(threads: int) -> dict[str, Any]:
    from model_wrappers.darknet.cpu import cpu_name

    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout.strip()
    return {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "threads": threads,
        "load": round(os.getloadavg()[0], 1),
        "commit": commit,
    }


def at_side(name: str, folder: Path) -> Path:
    """A published cfg with an input of ``SIDE`` pixels."""
    text = (SHARED_DATA / "cfg" / f"{name}.cfg").read_text()
    cfg = folder / f"{name}.cfg"
    cfg.write_text(re.sub(r"(?m)^(width|height)\s*=.*$", rf"\1={SIDE}", text))
    return cfg


def sgemm(threads: int) -> dict[str, Run]:
    """One float32 product of ``SGEMM_SIDE``, by numpy's BLAS and by ONNX Runtime's own; the faster one is the rate."""
    import numpy as np
    import onnx
    import onnxruntime

    rng = np.random.default_rng(0)
    a, b = (rng.random((SGEMM_SIDE, SGEMM_SIDE), np.float32) for _ in range(2))
    value = onnx.helper.make_tensor_value_info
    shape, kind = [SGEMM_SIDE, SGEMM_SIDE], onnx.TensorProto.FLOAT
    nodes = [onnx.helper.make_node("MatMul", ["a", "b"], ["c"])]
    constants = [onnx.numpy_helper.from_array(b, "b")]
    graph = onnx.helper.make_graph(nodes, "sgemm", [value("a", kind, shape)], [value("c", kind, shape)], constants)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    return {"sgemm numpy": lambda: a @ b, "sgemm onnxruntime": lambda: session.run(None, {"a": a})}


def measure_network(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    from model_wrappers import photo
    from model_wrappers.darknet import Size, compile_onnx, letterbox
    from model_wrappers.darknet.cfg import load_network
    from model_wrappers.darknet.weights import write_weights
    from tests.darknet.networks import random_weights

    with tempfile.TemporaryDirectory() as folder:
        cfg, weights = at_side(name, Path(folder)), Path(folder) / f"{name}.weights"
        network = load_network(cfg)
        write_weights(weights, network, random_weights(network, SEED))
        pixels = letterbox(photo.decode((SHARED_DATA / "photos" / "dog.jpg").read_bytes()), Size(SIDE, SIDE))
        graph = compile_onnx(cfg, weights)
        runs = dict(contenders(cfg, weights, graph, network, pixels, arguments.threads))
        kept = {key: run for key, run in runs.items() if key not in arguments.skip}
        times = interleave({**sgemm(arguments.threads), **kept}, arguments.rounds, arguments.slow_rounds)
    sgemm_names = [key for key in times if key.startswith("sgemm")]
    return {
        "gflop": flops(network) / 1e9,
        "sgemm_gflops": {key: 2e-9 * SGEMM_SIDE**3 / statistics.median(times.pop(key)) for key in sgemm_names},
        "seconds": times,
    }


def flops(network: Any) -> float:
    """Of the convolutions, a multiplication and an addition each."""
    from model_wrappers.darknet.layers import Convolutional
    from model_wrappers.darknet.weights import kernel_shape

    total = 0
    for layer in network.layers:
        if isinstance(layer.op, Convolutional):
            filters, channels, rows, columns = kernel_shape(network, layer)
            total += 2 * filters * channels * rows * columns * layer.shape.height * layer.shape.width
    return float(total)


def contenders(
    cfg: Path, weights: Path, graph: bytes, network: Any, pixels: Any, threads: int
) -> Iterator[tuple[str, Run]]:
    import onnxruntime

    from model_wrappers.darknet.engines import installed_engines, open_engine
    from model_wrappers.darknet.engines.onnx_runtime import open_session
    from model_wrappers.darknet.folder import ModelFolder
    from model_wrappers.darknet.quantise import quantise
    from model_wrappers.darknet.timing import fastest, time_engines

    files = ModelFolder(cfg, weights, Path("unused"))
    images = pixels[None]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(graph, options, ["CPUExecutionProvider"])
    yield "onnxruntime", lambda: session.run(None, {"images": images})
    for name in ("openvino", "darknet"):
        if name in installed_engines():
            engine = open_engine(name, files, threads=threads)
            yield name, lambda engine=engine: engine.run(images)
    yield "opencv", opencv_darknet(cfg, weights, pixels, threads)
    heads = [output[0] for output in open_engine("onnxruntime", files, threads=threads).run(images)]
    quick = [name for name in installed_engines() if name != "darknet"]
    best = fastest(time_engines(files, pixels, heads, threads=threads, names=quick)).engine
    ours = open_engine(best, files, threads=threads)
    yield f"ours ({best})", lambda: ours.run(images)
    small = open_session(quantise(graph, network, [pixels]), threads=threads)
    yield "int8 (onnxruntime)", lambda: small.run(None, {"images": images})


def opencv_darknet(cfg: Path, weights: Path, pixels: Any, threads: int) -> Run:
    """OpenCV 4's own importer of cfg and weights, with its own conversion of the pixels."""
    import cv2

    cv2.setNumThreads(threads)
    net = cv2.dnn.readNetFromDarknet(str(cfg), str(weights))
    names = net.getUnconnectedOutLayersNames()

    def run() -> Any:
        net.setInput(cv2.dnn.blobFromImage(pixels, 1 / 255, (SIDE, SIDE)))
        return net.forward(names)

    return run


def interleave(runs: dict[str, Run], rounds: int, slow_rounds: int) -> dict[str, list[float]]:
    """Seconds of each run, round by round; one run of each before the clock starts."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    for number in range(rounds):
        best = min((min(values) for values in times.values() if values), default=0.0)
        for name, run in runs.items():
            if number >= slow_rounds and not name.startswith("sgemm") and min(times[name]) > SLOW_FACTOR * best:
                continue
            started = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - started)
    return times


def photo_path(rounds: int = 50) -> dict[str, float]:
    """Median milliseconds of what surrounds the network for a 768 x 576 JPEG, with yolo-fastest-1.1-xl's heads at 416."""
    import cv2

    from model_wrappers import photo
    from model_wrappers.darknet import ModelFolder, Size, letterbox
    from model_wrappers.darknet.cfg import load_network
    from model_wrappers.darknet.decode import decode
    from model_wrappers.darknet.detections import to_detections
    from model_wrappers.darknet.engines import open_engine

    cv2.setNumThreads(1)
    encoded = (SHARED_DATA / "photos" / "dog.jpg").read_bytes()
    rgb = photo.decode(encoded)
    net = Size(SIDE, SIDE)
    with tempfile.TemporaryDirectory() as folder:
        cfg = at_side("yolo-fastest-1.1-xl", Path(folder))
        network = load_network(cfg)
        files = ModelFolder(cfg, SHARED_DATA / "weights" / "yolo-fastest-1.1-xl.weights", Path("unused"))
        raw = [output[0] for output in open_engine("onnxruntime", files, threads=1).run(letterbox(rgb, net)[None])]
    heads = [layer.op for layer in network.heads]
    names = [str(number) for number in range(network.classes)]

    def boxes() -> None:
        candidates = decode(heads, raw, net, 0.25)  # type: ignore[arg-type]  # heads hold heads
        to_detections(candidates, names=names, photo=Size(768, 576), net=net, iou=0.45, nms="sort", clip=True)

    runs: dict[str, Run] = {
        "JPEG": lambda: photo.decode(encoded),
        "letterbox": lambda: letterbox(rgb, net),
        "decode and NMS": boxes,
    }
    times = interleave(runs, rounds, rounds)
    return {name: statistics.median(values) * 1000 for name, values in times.items()}


def int8_precision() -> dict[str, float]:
    """mAP@0.5 of models/shapes v2 on its held-out photos, as compiled and in 8 bits calibrated on training photos."""
    from model_wrappers.darknet import ModelFolder, Size, compile_onnx, letterbox
    from model_wrappers.darknet.cfg import load_network
    from model_wrappers.darknet.quantise import quantise
    from models.shapes.draw import draw
    from models.shapes.evaluate import held_out_map, shapes_model

    files = shapes_model(2)
    network = load_network(files.cfg_path)
    size = Size(network.input.width, network.input.height)
    photos = [letterbox(draw(seed).pixels, size) for seed in range(CALIBRATION_PHOTOS)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "int8.onnx"
        path.write_bytes(quantise(compile_onnx(files.cfg_path, files.weights_path), network, photos))
        small = ModelFolder(files.cfg_path, files.weights_path, files.names_path, path)
        return {"float32": held_out_map(files), "int8": held_out_map(small)}


def render(results: dict[str, Any]) -> str:
    """Markdown, as it stands in docs/darknet.md."""
    facts = results["machine"]
    lines = [
        f"{facts['cpu']}, {facts['threads']} of {facts['cores']} cores, load {facts['load']}, commit {facts['commit']}.",
        "",
    ]
    for name, found in results["networks"].items():
        medians = {key: statistics.median(values) for key, values in found["seconds"].items()}
        best = min(value for key, value in medians.items() if not key.startswith("int8"))
        rates = ", ".join(f"{value:.0f} ({key.split()[1]})" for key, value in found["sgemm_gflops"].items())
        rate = max(found["sgemm_gflops"].values())
        lines += [
            f"**{name}-{SIDE}**: {found['gflop']:.1f} GFLOP; SGEMM {rates} GFLOP/s.",
            "",
            "| engine | median ms | rounds | x best | share of SGEMM |",
            "|---|---|---|---|---|",
        ]
        for key, value in sorted(medians.items(), key=lambda item: item[1]):
            share = found["gflop"] / value / rate
            rounds = len(found["seconds"][key])
            lines.append(f"| {key} | {value * 1000:.1f} | {rounds} | {value / best:.2f} | {share:.0%} |")
        lines.append("")
    photo = results["photo_ms"]
    parts = ", ".join(f"{name} {value:.1f}" for name, value in photo.items())
    lines.append(
        f"Around the network, 768 x 576 JPEG at {SIDE}, one thread: {parts}; together {sum(photo.values()):.1f} ms."
    )
    precision = results["int8_map"]
    lines.append(f"INT8 on models/shapes v2: mAP@0.5 {precision['int8']:.4f}, float32 {precision['float32']:.4f}.")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
