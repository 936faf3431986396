"""Engines on one machine, interleaved: milliseconds per photo, share of the machine's SGEMM rate, and INT8.

    python benchmarks/engines.py                              # yolov3-tiny and yolov3 at 416, 20 rounds, one thread
    python benchmarks/engines.py --networks yolov3 --darknet-rounds 3 --json engines.json
    python benchmarks/engines.py --rounds 2 --skip darknet openvino

Cfgs come from ../shared/data, weights are seeded random ones. Every contender gets the same letterboxed photo: Darknet in
libdarknet, OpenCV by its own Darknet importer, ONNX Runtime and OpenVINO on the compiled graph with their defaults (OpenVINO
in float32; ONNX Runtime's idle threads do not spin, or they would take the next contender's core), and ours: what
``engine: auto`` picks. Each runs once in every round, and another one begins each round; among them the fastest matrix
products of ``sgemm``, found just before. libdarknet takes 5 s a round for yolov3: ``--darknet-rounds`` runs it in fewer.
INT8 stands beside, not among them. Exit code 1: ours takes more than ``MAX_OF_BEST`` times the best, or reaches less than
``MIN_SHARE`` of SGEMM on yolov3.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import onnxruntime

from benchmarks import command_line, sgemm
from benchmarks.networks import SHARED_DATA, SIDE, load, machine, model_files
from model_wrappers import photo
from model_wrappers.darknet import ModelFolder, Size, compile_onnx, letterbox
from model_wrappers.darknet.cfg import load_network
from model_wrappers.darknet.engines import ENGINES, installed_engines, open_engine
from model_wrappers.darknet.engines.onnx_runtime import open_session
from model_wrappers.darknet.int8_trial import describe, try_int8
from model_wrappers.darknet.quantise import quantise
from model_wrappers.darknet.timing import fastest, time_engines
from models.shapes.data import HELD_OUT, DrawnShapes
from models.shapes.evaluate import shapes_model

NETWORKS = ("yolov3-tiny", "yolov3")
MAX_OF_BEST = 1.10
MIN_SHARE = {"yolov3": 0.85}  # of the SGEMM rate
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")  # numpy reads them when it is imported
INT8_PHOTOS = 232  # drawn ones that no training saw: 32 calibrate, mAP is measured on the rest
YARDSTICKS, YARDSTICK_ROUNDS = 3, 5
OURS, INT8 = "ours", "int8 (onnxruntime)"

Run = Callable[[], Any]


def main() -> int:
    arguments = _parser().parse_args()
    missing = set(ENGINES) - set(installed_engines()) - set(arguments.skip)
    if missing:
        print(
            f"not installed: {', '.join(sorted(missing))} (--skip leaves one out; see docs/darknet.md)", file=sys.stderr
        )
        return 2
    if any(os.environ.get(name) != str(arguments.threads) for name in THREAD_VARIABLES):
        environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(arguments.threads))}
        os.execve(sys.executable, [sys.executable, *sys.argv], environment)
    results: dict[str, Any] = {"machine": machine(arguments.threads)}
    results["networks"] = {name: measure_network(name, arguments) for name in arguments.networks}
    if "int8" not in arguments.skip:
        results["int8"] = describe(try_int8(shapes_model(2), DrawnShapes(INT8_PHOTOS, first=HELD_OUT), threads=1))
    results["load_after"] = load()
    command_line.keep(results, arguments.json)
    print(render(results))
    return 1 if any(faults(name, found) for name, found in results["networks"].items()) else 0


def _parser() -> argparse.ArgumentParser:
    parser = command_line.parser(__doc__)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=NETWORKS)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--darknet-rounds", type=int, help="of libdarknet; as many as --rounds unless told otherwise")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--skip", nargs="*", default=[], choices=[*ENGINES, "int8"], help="contenders to leave out")
    return parser


def measure_network(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        files = model_files(name, Path(folder))
        network = load_network(files.cfg_path)
        pixels = letterbox(photo.decode((SHARED_DATA / "photos" / "dog.jpg").read_bytes()), Size(SIDE, SIDE))
        runs = dict(contenders(files, pixels, arguments.threads, arguments.skip))
        products = fastest_products(network, arguments.threads)
        darknet_rounds = arguments.rounds if arguments.darknet_rounds is None else arguments.darknet_rounds
        every = {**runs, **{title: run for title, (_, run) in products.items()}}
        times = interleave(every, arguments.rounds, {"darknet": darknet_rounds})
    rates = {title: gflop / statistics.median(times.pop(title)) for title, (gflop, _) in products.items()}
    return {"gflop": sgemm.convolutions_gflop(network), "sgemm_gflops": rates, "seconds": times}


def fastest_products(network: Any, threads: int) -> dict[str, tuple[float, Run]]:
    """Of every shape and library the ``YARDSTICKS`` fastest: GFLOP and run, to be timed among the contenders."""
    products = {
        f"{library}, {product}": (product.gflop, run)
        for product in sgemm.products(network)
        for library, run in sgemm.runs(product, threads)
    }
    seconds = interleave({title: run for title, (_, run) in products.items()}, YARDSTICK_ROUNDS, {})
    order = sorted(products, key=lambda title: -products[title][0] / statistics.median(seconds[title]))
    return {title: products[title] for title in order[:YARDSTICKS]}


def contenders(files: ModelFolder, pixels: Any, threads: int, skip: list[str]) -> Iterator[tuple[str, Run]]:
    images = pixels[None]
    graph = compile_onnx(files.cfg_path, files.weights_path)
    if "onnxruntime" not in skip:
        yield "onnxruntime", onnxruntime_alone(graph, images, threads)
    for name in ("openvino", "darknet"):
        if name not in skip:
            yield name, partial(open_engine(name, files, threads=threads).run, images)
    if "opencv" not in skip:
        yield "opencv", opencv_alone(files, pixels, threads)
    heads = [output[0] for output in open_engine("onnxruntime", files, threads=threads).run(images)]
    quick = [name for name in installed_engines() if name not in ("darknet", *skip)]
    best = fastest(time_engines(files, pixels, heads, threads=threads, names=quick)).engine
    ours = open_engine(best, files, threads=threads)
    yield f"{OURS} ({best})", lambda: ours.run(images)
    if "int8" not in skip:
        small = open_session(quantise(graph, load_network(files.cfg_path), [pixels]), threads=threads)
        yield INT8, lambda: small.run(None, {"images": images})


def onnxruntime_alone(graph: bytes, images: Any, threads: int) -> Run:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(graph, options, ["CPUExecutionProvider"])
    return lambda: session.run(None, {"images": images})


def opencv_alone(files: ModelFolder, pixels: Any, threads: int) -> Run:
    """OpenCV 4's own importer of cfg and weights, with its own conversion of the pixels."""
    cv2.setNumThreads(threads)
    net = cv2.dnn.readNetFromDarknet(str(files.cfg_path), str(files.weights_path))
    names = net.getUnconnectedOutLayersNames()

    def run() -> Any:
        net.setInput(cv2.dnn.blobFromImage(pixels, 1 / 255, (SIDE, SIDE)))
        return net.forward(names)

    return run


def interleave(runs: dict[str, Run], rounds: int, fewer: dict[str, int]) -> dict[str, list[float]]:
    """Seconds of each run, round by round, each round begun by another one; one run of each before the clock starts."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    names = list(runs)
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
        first = number % len(names)
        for name in names[first:] + names[:first]:
            if number < fewer.get(name, rounds):
                started = time.perf_counter()
                runs[name]()
                times[name].append(time.perf_counter() - started)
    return {name: seconds for name, seconds in times.items() if seconds}


def medians(found: dict[str, Any]) -> dict[str, float]:
    """Seconds by contender, fastest first."""
    values = {name: statistics.median(seconds) for name, seconds in found["seconds"].items()}
    return dict(sorted(values.items(), key=lambda item: item[1]))


def faults(network: str, found: dict[str, Any]) -> list[str]:
    """What ours misses of what it must reach."""
    times = medians(found)
    ours = next(seconds for name, seconds in times.items() if name.startswith(OURS))
    best = min(seconds for name, seconds in times.items() if name != INT8)
    share = found["gflop"] / ours / max(found["sgemm_gflops"].values())
    missed = []
    if ours > MAX_OF_BEST * best:
        missed.append(f"ours takes {ours / best:.2f} x the best: at most {MAX_OF_BEST} is allowed")
    if share < MIN_SHARE.get(network, 0.0):
        missed.append(f"ours reaches {share:.0%} of SGEMM: at least {MIN_SHARE[network]:.0%} is expected")
    return missed


def render(results: dict[str, Any]) -> str:
    """Markdown, as it stands in docs/darknet.md."""
    facts = results["machine"]
    loads = f"load {facts['load']} before and {results['load_after']} after"
    lines = [f"{facts['cpu']}, {facts['threads']} of {facts['cores']} cores, {loads}, commit {facts['commit']}."]
    for name, found in results["networks"].items():
        lines += ["", *_render_network(name, found)]
        lines += ["", *(faults(name, found) or ["Ours is within its limits."])]
    if "int8" in results:
        lines += ["", f"models/shapes v2 in {results['int8']}"]
    return "\n".join(lines)


def _render_network(name: str, found: dict[str, Any]) -> Iterator[str]:
    times, rate = medians(found), max(found["sgemm_gflops"].values())
    best = min(seconds for contender, seconds in times.items() if contender != INT8)
    rates = "; ".join(f"{value:.0f} ({title})" for title, value in found["sgemm_gflops"].items())
    yield f"**{name}-{SIDE}**: {found['gflop']:.1f} GFLOP of convolutions; SGEMM {rates} GFLOP/s."
    yield ""
    yield "| engine | median ms | rounds | x best | share of SGEMM |"
    yield "|---|---|---|---|---|"
    for contender, seconds in times.items():
        share = "" if contender == INT8 else f"{found['gflop'] / seconds / rate:.0%}"
        rounds = len(found["seconds"][contender])
        yield f"| {contender} | {seconds * 1000:.1f} | {rounds} | {seconds / best:.2f} | {share} |"


if __name__ == "__main__":
    sys.exit(main())
