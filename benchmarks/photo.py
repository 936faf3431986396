"""What surrounds the network on one core: JPEG to pixels, letterbox, boxes and NMS, beside the networks themselves.

    python benchmarks/photo.py                                   # 50 rounds, pinned to the last core it may use
    python benchmarks/photo.py --networks yolov3-tiny yolov3 --rounds 20 --json photo.json

Photos are those of ../shared/data; ``dog`` has 768 x 576 pixels. Boxes are yolo-fastest-1.1-xl's at 416, at confidence
0.25 and, for a crowd, 0.005. Networks run on onnxruntime with one thread at 416: yolo-fastest-1.1-xl with its published
weights, the others with seeded random ones (time does not depend on their values). A first number is the median of wall
time, the one in brackets of the process's CPU time, which other work on the machine disturbs less. Exit code 1: the
photo of 768 x 576 took more than ``LIMIT_MS`` of CPU time by median.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

import cv2  # noqa: E402  - the repository must be found first

from benchmarks import command_line  # noqa: E402
from benchmarks.networks import SHARED_DATA, SIDE, machine, model_files  # noqa: E402
from model_wrappers import photo  # noqa: E402
from model_wrappers.darknet import Size, letterbox  # noqa: E402
from model_wrappers.darknet.cfg import load_network  # noqa: E402
from model_wrappers.darknet.decode import decode  # noqa: E402
from model_wrappers.darknet.detections import to_detections  # noqa: E402
from model_wrappers.darknet.engines import open_engine  # noqa: E402

LIMIT_MS = 10.0  # of the three steps together, for the first of CASES
BOXES_FROM = "yolo-fastest-1.1-xl"
NETWORKS = (BOXES_FROM, "yolov3-tiny", "yolov3")
CASES = (("dog", 0.25), ("kite", 0.25), ("kite", 0.005))  # photo, confidence
STEPS = ("JPEG", "letterbox", "boxes and NMS")
NET = Size(SIDE, SIDE)

Step = Callable[[], Any]
Times = dict[str, list[float]]  # "wall" and "cpu": milliseconds, round by round


def main() -> int:
    parser = command_line.parser(__doc__)
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS[:2]), choices=NETWORKS)
    parser.add_argument("--rounds", type=int, default=50)
    arguments = parser.parse_args()
    if not SHARED_DATA.is_dir():
        parser.error(f"{SHARED_DATA} is not here: set SLIPWAY_SHARED to the folder that holds data/photos")
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    cv2.setNumThreads(1)
    results: dict[str, Any] = {"machine": machine(1)}
    with tempfile.TemporaryDirectory() as folder:
        results["photos"] = [measure_photo(*case, Path(folder), arguments.rounds) for case in CASES]
        results["networks"] = {
            name: measure_network(name, Path(folder), arguments.rounds) for name in arguments.networks
        }
    command_line.keep(results, arguments.json)
    print(render(results))
    return 0 if together(results["photos"][0]["steps"], "cpu") <= LIMIT_MS else 1


def measure_photo(name: str, confidence: float, folder: Path, rounds: int) -> dict[str, Any]:
    encoded = (SHARED_DATA / "photos" / f"{name}.jpg").read_bytes()
    rgb = photo.decode(encoded)
    size = Size(rgb.shape[1], rgb.shape[0])
    files = model_files(BOXES_FROM, folder)
    network = load_network(files.cfg_path)
    outputs = [output[0] for output in open_engine("onnxruntime", files, threads=1).run(letterbox(rgb, NET)[None])]
    heads: Any = [layer.op for layer in network.heads]
    names = [str(number) for number in range(network.classes)]

    def boxes() -> list[Any]:
        candidates = decode(heads, outputs, NET, confidence)
        return to_detections(candidates, names=names, photo=size, net=NET, iou=0.45, nms="sort", clip=True)

    runs = (lambda: photo.decode(encoded), lambda: letterbox(rgb, NET), boxes)
    steps = time_steps(dict(zip(STEPS, runs, strict=True)), rounds)
    return {"photo": f"{name}.jpg {size}", "confidence": confidence, "boxes": len(boxes()), "steps": steps}


def measure_network(name: str, folder: Path, rounds: int) -> Times:
    engine = open_engine("onnxruntime", model_files(name, folder), threads=1)
    pixels = letterbox(photo.decode((SHARED_DATA / "photos" / "dog.jpg").read_bytes()), NET)[None]
    return time_steps({name: lambda: engine.run(pixels)}, rounds)[name]


def time_steps(steps: dict[str, Step], rounds: int) -> dict[str, Times]:
    """Each step once in each round, after one round that does not count."""
    times: dict[str, Times] = {name: {"wall": [], "cpu": []} for name in steps}
    for number in range(rounds + 1):
        for name, step in steps.items():
            wall, cpu = time.perf_counter(), time.process_time()
            step()
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            if number:
                times[name]["wall"].append(wall * 1000)
                times[name]["cpu"].append(cpu * 1000)
    return times


def together(steps: dict[str, Times], clock: str) -> float:
    """Milliseconds of one photo: the sum of its steps' medians."""
    return sum(statistics.median(times[clock]) for times in steps.values())


def render(results: dict[str, Any]) -> str:
    """Markdown, as it stands in docs/darknet.md."""
    facts = results["machine"]
    lines = [
        f"{facts['cpu']}, 1 of {facts['cores']} cores, load {facts['load']}, commit {facts['commit']}.",
        f"Milliseconds by median at {SIDE}: wall time (CPU time).",
        "",
        f"| photo | confidence | boxes | {' | '.join(STEPS)} | together |",
        f"|---|---|---|{'---|' * (len(STEPS) + 1)}",
    ]
    for one in results["photos"]:
        medians = [
            f"{statistics.median(times['wall']):.1f} ({statistics.median(times['cpu']):.1f})"
            for times in one["steps"].values()
        ]
        medians.append(f"{together(one['steps'], 'wall'):.1f} ({together(one['steps'], 'cpu'):.1f})")
        lines.append(f"| {one['photo']} | {one['confidence']} | {one['boxes']} | {' | '.join(medians)} |")
    for name, times in results["networks"].items():
        wall, cpu = statistics.median(times["wall"]), statistics.median(times["cpu"])
        lines += ["", f"Beside it, {name}-{SIDE} on onnxruntime: {wall:.1f} ({cpu:.1f})."]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
