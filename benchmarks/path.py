"""The whole path of a photo beside the same work in one process, on the same JPEGs, in one run.

    python benchmarks/path.py                                   # 20 rounds of 20 photos each way
    python benchmarks/path.py --rounds 5 --model yolov3-tiny --json path.json
    python benchmarks/path.py --rounds 0 --throughput           # only how much of the engine the path leaves, minutes

The path is client → Envoy → executor → ImageTransformer (its decoder process) → YoloDetector and back: the two Envoys
with the files that the mesh writes for the controller's objects, the executor, and both components under our microservice.
"In one process" is the decoding, letterbox, engine, boxes and NMS of the same library on as many threads; both give the
same boxes, which is checked. Photos are those of ../shared/data, at most 768 pixels a side and 100,000 bytes. Each round
takes every way in turns and the next one begins with another.

Overhead is the difference of the percentiles of wall time. Beside it stands the processors' time of one photo, client
left out: other work on the machine disturbs it less.

``--throughput`` keeps ``AT_ONCE`` requests under way in turns with the engine alone, which does nothing but run the network
(yolov3 at 416 with seeded weights that see some dozens of boxes in a photo): once with the detector as it is, all threads at one
photo, and once with as many photos at a time as there are threads, each with one of them.

Nothing here fails: targets are judged in words.
"""

from __future__ import annotations

import argparse
import base64
import json
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import grpc
from google.protobuf import json_format

from benchmarks import command_line, gateway, networks, processes
from benchmarks.processes import HOST, Http, header_of, timed, verdict
from benchmarks.serving import ANYWAY, BINARY, Served, serving
from model_wrappers import photo
from model_wrappers.darknet import Detector, Size, letterbox
from model_wrappers.darknet.cpu import engine_threads
from model_wrappers.darknet.engines import open_engine
from slipway.contract.protos import prediction_pb2 as pb

PHOTOS = ("dog", "person", "bird", "scream", "kite")
MAX_PHOTO_BYTES, MAX_PHOTO_SIDE = 100_000, 768
MODEL, LARGE_MODEL = "yolo-fastest-1.1-xl", "yolov3"
ALONE, REST, RPC = "in one process", "REST, the JPEG itself", "gRPC"
JSON_CLIENT, JSON_NODES = "REST, JSON", "REST, JSON to the nodes too"
WAYS = (REST, RPC, JSON_CLIENT, JSON_NODES)
JPEG, JSON = "image/jpeg", "application/json"
MAX_P50_MS, MAX_P99_MS, MIN_SHARE = 3.0, 8.0, 0.97
WARM_UP = 20
AT_ONCE = 3
BLOCK = 16  # photos one way, then another

ENGINE, PATH = "engine alone, all threads at one photo", "the path, its detector likewise"
ENGINE_TOGETHER, PATH_TOGETHER = (
    "engine alone, a photo to each thread",
    "the path, its detector likewise (`GUNICORN_THREADS`, `OMP_NUM_THREADS=1`)",
)

Call = Callable[[], Any]
Worker = Callable[[int], Any]
"""Works at the photo of that number."""


def main() -> int:
    flags = _parser().parse_args()
    if not networks.SHARED_DATA.is_dir():
        print(f"{networks.SHARED_DATA}: not there: set SLIPWAY_SHARED to the folder that holds data/", file=sys.stderr)
        return 2
    cv2.setNumThreads(1)
    jpegs = [jpeg(name) for name in PHOTOS]
    results: dict[str, Any] = {"machine": processes.machine(), "threads": engine_threads(), "model": flags.model}
    if flags.rounds:
        with serving(flags.model) as served:
            results["latency"] = latency(served, jpegs, rounds=flags.rounds, count=flags.photos)
    if flags.throughput:
        results["throughput"] = throughput(jpegs, rounds=flags.throughput)
    results["load_after"] = processes.load()
    command_line.keep(results, flags.json)
    print(render(results))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = command_line.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="of latency, 0 for none")
    parser.add_argument("--photos", type=int, default=20, help="of each way in a round")
    parser.add_argument("--model", default=MODEL, help="whose cfg is in ../shared/data (default: %(default)s)")
    parser.add_argument(
        "--throughput", type=int, nargs="?", const=4, default=0, metavar="ROUNDS", help="how often, 4 where not said"
    )
    return parser


def jpeg(name: str) -> bytes:
    """The best quality that fits into ``MAX_PHOTO_BYTES``."""
    pixels = cv2.imread(str(networks.SHARED_DATA / "photos" / f"{name}.jpg"))
    scale = min(1.0, MAX_PHOTO_SIDE / max(pixels.shape[:2]))
    smaller = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    for quality in range(95, 20, -1):
        encoded: bytes = cv2.imencode(".jpg", smaller, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
        if len(encoded) <= MAX_PHOTO_BYTES:
            return encoded
    raise ValueError(f"{name}.jpg: does not fit into {MAX_PHOTO_BYTES} bytes")


def latency(served: Served, jpegs: Sequence[bytes], *, rounds: int, count: int) -> dict[str, Any]:
    """Milliseconds of every photo each way; of a photo in each node as the executor saw it; of the processors by part."""
    nodes: dict[str, list[float]] = {}
    calls = ways(served, Detector(served.model), jpegs, nodes)
    for call in calls.values():
        timed(call, WARM_UP)
    check_same(calls, len(jpegs))
    nodes.clear()
    names = list(calls)
    ms: dict[str, list[float]] = {name: [] for name in names}
    cpu_ms = {name: dict.fromkeys(_parts(served) if name in WAYS else (), 0.0) for name in names}
    cpu_ms[ALONE] = {ALONE: 0.0}
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            before, mine = _parts(served), time.process_time()
            ms[name] += timed(calls[name], count)
            spent = {part: now - before[part] for part, now in _parts(served).items()}
            if name == ALONE:
                spent = {ALONE: (time.process_time() - mine) * 1000}
            for part, milliseconds in spent.items():
                cpu_ms[name][part] += milliseconds / (rounds * count)
    return {"ms": ms, "nodes_ms": nodes, "cpu_ms": cpu_ms, "bytes": [len(one) for one in jpegs]}


def _parts(served: Served) -> dict[str, float]:
    """What each part has had of the processors so far."""
    return {part: sum(map(processes.cpu_ms, pids)) for part, pids in served.pids.items()}


def ways(served: Served, detector: Detector, jpegs: Sequence[bytes], nodes: dict[str, list[float]]) -> dict[str, Call]:
    """Way → one photo, the next one each time; the answer is its boxes."""
    rest, text, plain = Http(served.port), Http(served.port), Http(served.port)
    bodies = [json.dumps({"binData": base64.b64encode(one).decode()}).encode() for one in jpegs]
    messages = [pb.SeldonMessage(binData=one).SerializeToString() for one in jpegs]
    predict = grpc.insecure_channel(f"{HOST}:{served.port}").unary_unary("/seldon.protos.Seldon/Predict")
    to = (("seldon", BINARY), ("namespace", gateway.NAMESPACE))

    def of_photo(encoded: bytes) -> Any:
        return [found.to_json() for found in detector.detect(photo.decode(encoded))]

    def of_rest(encoded: bytes) -> bytes:
        answer = rest.post(gateway.predictions(BINARY), encoded, content_type=JPEG)
        for name, milliseconds in server_timing(rest.head).items():
            nodes.setdefault(name, []).append(milliseconds)
        return answer

    return {
        ALONE: _each(of_photo, jpegs),
        REST: _each(of_rest, jpegs),
        RPC: _each(lambda body: predict(body, metadata=to), messages),
        JSON_CLIENT: _each(lambda body: text.post(gateway.predictions(BINARY), body, content_type=JSON), bodies),
        JSON_NODES: _each(lambda body: plain.post(gateway.predictions(ANYWAY), body, content_type=JSON), bodies),
    }


def _each(call: Callable[[bytes], Any], bodies: Sequence[bytes]) -> Call:
    """Calls with the next body each time, from the first one again."""
    made = iter(range(sys.maxsize))
    return lambda: call(bodies[next(made) % len(bodies)])


def server_timing(head: bytes) -> dict[str, float]:
    """``a;dur=1.5, b;dur=2`` → milliseconds by node."""
    entries = (entry.strip().partition(";dur=") for entry in header_of(head, b"server-timing").decode().split(","))
    return {name: float(value) for name, _, value in entries if value}


def check_same(calls: dict[str, Call], photos: int) -> None:
    """Every way finds the same boxes of every photo; ValueError names the one that does not."""
    for number in range(photos):
        expected = calls[ALONE]()
        for name in WAYS:
            if (found := detections(calls[name]())) != expected:
                raise ValueError(f"{name}: photo {number}: {found} is not {expected}")


def detections(answer: bytes) -> Any:
    """Of an answer in JSON, or of a SeldonMessage."""
    if answer.startswith(b"{"):
        return json.loads(answer)["jsonData"]["detections"]
    return json_format.MessageToDict(pb.SeldonMessage.FromString(answer))["jsonData"]["detections"]


def throughput(jpegs: Sequence[bytes], *, rounds: int) -> dict[str, list[float]]:
    """Photos per second each way, in turns; block by block."""
    threads = engine_threads()
    together = {"GUNICORN_THREADS": str(threads), "OMP_NUM_THREADS": "1"}
    with serving(LARGE_MODEL) as as_it_is, serving(LARGE_MODEL, together) as at_once:
        workers = {
            ENGINE: [_engine(as_it_is, jpegs[0], threads)],
            ENGINE_TOGETHER: [_engine(as_it_is, jpegs[0], 1)] * threads,
            PATH: [_client(as_it_is, jpegs) for _ in range(AT_ONCE)],
            PATH_TOGETHER: [_client(at_once, jpegs) for _ in range(AT_ONCE)],
        }
        for way in workers.values():
            _at_once(way, AT_ONCE)
        per_second: dict[str, list[float]] = {name: [] for name in workers}
        for _ in range(rounds):
            for name, way in workers.items():
                begun = time.perf_counter()
                _at_once(way, BLOCK)
                per_second[name].append(BLOCK / (time.perf_counter() - begun))
        return per_second


def _engine(served: Served, encoded: bytes, threads: int) -> Worker:
    engine = open_engine("onnxruntime", served.model, threads=threads)
    pixels = letterbox(photo.decode(encoded), Size(networks.SIDE, networks.SIDE))[None]
    return lambda _: engine.run(pixels)


def _client(served: Served, jpegs: Sequence[bytes]) -> Worker:
    http = Http(served.port)
    return lambda number: http.post(gateway.predictions(BINARY), jpegs[number % len(jpegs)], content_type=JPEG)


def _at_once(workers: Sequence[Worker], count: int) -> None:
    """``count`` photos, each worker one at a time in a thread of its own; an error of any of them is raised."""
    numbers, errors = iter(range(count)), list[Exception]()

    def work(worker: Worker) -> None:
        try:
            for number in numbers:
                worker(number)
        except (OSError, processes.HttpError) as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in workers]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    if errors:
        raise errors[0]


def render(results: dict[str, Any]) -> str:
    """Tables in Markdown."""
    facts = f"{processes.told(results['machine'])}; load {results['load_after']} after; {results['threads']} threads."
    lines = [facts, ""]
    if "latency" in results:
        lines += [*_render_latency(results["model"], results["latency"]), ""]
    if "throughput" in results:
        lines += _render_throughput(results["throughput"])
    return "\n".join(lines)


def _render_latency(model: str, found: dict[str, Any]) -> Iterator[str]:
    times, cpu_ms = found["ms"], {way: sum(parts.values()) for way, parts in found["cpu_ms"].items()}
    alone = [percentile(times[ALONE], share) for share in (50, 99)]
    yield f"{model} at {networks.SIDE}, JPEGs of {min(found['bytes'])} to {max(found['bytes'])} bytes, ms."
    yield ""
    yield "| | p50 | p99 | processors | over one process: p50 | p99 | processors | target | |"
    yield "|---|---|---|---|---|---|---|---|---|"
    yield f"| {ALONE} | {alone[0]:.2f} | {alone[1]:.2f} | {cpu_ms[ALONE]:.2f} | | | | | |"
    for way in WAYS:
        p50, p99 = (percentile(times[way], share) for share in (50, 99))
        over = (p50 - alone[0], p99 - alone[1])
        judged = f"≤ {MAX_P50_MS:g}, ≤ {MAX_P99_MS:g} | {verdict(over[0], MAX_P50_MS)}, {verdict(over[1], MAX_P99_MS)}"
        yield (
            f"| {way} | {p50:.2f} | {p99:.2f} | {cpu_ms[way]:.2f} | {over[0]:.2f} | {over[1]:.2f} | "
            f"{cpu_ms[way] - cpu_ms[ALONE]:.2f} | {'none |' if way == JSON_NODES else judged} |"
        )
    yield ""
    yield from _render_parts(found)


def _render_parts(found: dict[str, Any]) -> Iterator[str]:
    """Where a photo's time goes."""
    parts = list(found["cpu_ms"][REST])
    yield f"| processors, ms of one photo | {' | '.join(parts)} |"
    yield "|---|" + "---|" * len(parts)
    for way in WAYS:
        yield f"| {way} | {' | '.join(format(found['cpu_ms'][way][part], '.2f') for part in parts)} |"
    inside = {name: statistics.median(values) for name, values in found["nodes_ms"].items()}
    rest = percentile(found["ms"][REST], 50) - sum(inside.values())
    told = ", ".join(f"{name} {milliseconds:.2f}" for name, milliseconds in inside.items())
    yield ""
    yield f"{REST}, wall time by median: {told} (from the executor's call to its answer), gateway and executor {rest:.2f}."


def percentile(values: Sequence[float], share: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[share - 1]


def _render_throughput(found: dict[str, list[float]]) -> Iterator[str]:
    """Each way beside the engine alone, all its threads at one photo."""
    per_second = {name: statistics.median(values) for name, values in found.items()}
    yield f"{LARGE_MODEL} at {networks.SIDE}; the path with {AT_ONCE} photos under way; medians of {len(found[ENGINE])} blocks of {BLOCK}."
    yield ""
    yield "| | photos per second | share | target | |"
    yield "|---|---|---|---|---|"
    for name, rate in per_second.items():
        share = rate / per_second[ENGINE]
        judged = (
            f"≥ {MIN_SHARE:.0%} | {'met' if share >= MIN_SHARE else 'MISSED'}" if name in (PATH, PATH_TOGETHER) else "|"
        )
        yield f"| {name} | {rate:.3f} | {share:.1%} | {judged} |"


if __name__ == "__main__":
    sys.exit(main())
