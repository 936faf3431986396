"""The whole path of a photo beside the same work in one process, on the same JPEGs, in one run.

    python benchmarks/path.py                                   # 20 rounds of 20 photos each way
    python benchmarks/path.py --rounds 5 --model yolov3-tiny --json path.json
    python benchmarks/path.py --bare                            # beside them relays that check nothing
    python benchmarks/path.py --rounds 0 --throughput           # only how much of the engine the path leaves, minutes

The path is client → Envoy → executor → ImageTransformer (its decoder process) → YoloDetector and back: the two Envoys
with the files that the mesh writes for the controller's objects, the executor, and both components under our microservice.
"In one process" is the decoding, letterbox, engine, boxes and NMS of the same library on as many threads; both give the
same boxes, which is checked. Photos are those of ../shared/data, at most 768 pixels a side and 100,000 bytes. Each round
takes every way in turns and the next one begins with another.

``--bare`` adds a way whose executor and microservices are the relays of ``benchmarks/bare.py``: no executor and microservice
in Python can take less.

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
import contextlib
import json
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import grpc
from google.protobuf import json_format

from benchmarks import command_line, gateway, networks, processes
from benchmarks.path_report import (
    ALONE,
    AT_ONCE,
    BARE,
    BLOCK,
    ENGINE,
    ENGINE_TOGETHER,
    JSON_CLIENT,
    JSON_NODES,
    LARGE_MODEL,
    MODEL,
    PATH,
    PATH_TOGETHER,
    REST,
    RPC,
    WAYS,
    by_services,
    render,
)
from benchmarks.processes import HOST, Http, header_of, timed
from benchmarks.serving import ANYWAY, BINARY, Served, serving
from model_wrappers import photo
from model_wrappers.darknet import Detector, Size, letterbox
from model_wrappers.darknet.cpu import engine_threads
from model_wrappers.darknet.engines import open_engine
from slipway.contract.protos import prediction_pb2 as pb

PHOTOS = ("dog", "person", "bird", "scream", "kite")
MAX_PHOTO_BYTES, MAX_PHOTO_SIDE = 100_000, 768
JPEG, JSON = "image/jpeg", "application/json"
WARM_UP = 20

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
        bare = serving(flags.model, is_bare=True) if flags.bare else contextlib.nullcontext()
        with serving(flags.model) as served, bare as relays:
            found = latency(served, jpegs, rounds=flags.rounds, count=flags.photos, bare=relays)
            results["latency"] = found
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
    parser.add_argument("--bare", action="store_true", help="beside them relays that check nothing")
    parser.add_argument("--model", default=MODEL, help="whose cfg is in ../shared/data (default: %(default)s)")
    parser.add_argument(
        "--throughput", type=int, nargs="?", const=4, default=0, metavar="ROUNDS", help="how often, 4 where not said"
    )
    return parser


def jpeg(name: str) -> bytes:
    """The best quality that fits into ``MAX_PHOTO_BYTES``."""
    pixels = photo.read(networks.SHARED_DATA / "photos" / f"{name}.jpg").decode()[..., ::-1]
    scale = min(1.0, MAX_PHOTO_SIDE / max(pixels.shape[:2]))
    smaller = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    for quality in range(95, 20, -1):
        encoded: bytes = cv2.imencode(".jpg", smaller, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
        if len(encoded) <= MAX_PHOTO_BYTES:
            return encoded
    raise ValueError(f"{name}.jpg: does not fit into {MAX_PHOTO_BYTES} bytes")


def latency(
    served: Served, jpegs: Sequence[bytes], *, rounds: int, count: int, bare: Served | None = None
) -> dict[str, Any]:
    """Milliseconds of every photo each way; of a photo in each node as the executor saw it; of the processors by part."""
    nodes: dict[str, list[float]] = {}
    calls = ways(served, Detector(served.model), jpegs, nodes)
    behind = dict.fromkeys(WAYS, served)
    if bare is not None:
        behind[BARE] = bare
        calls[BARE] = _each(_photos(Http(bare.port)), jpegs)
    for call in calls.values():
        timed(call, WARM_UP)
    check_same(calls, len(jpegs))
    nodes.clear()
    names = list(calls)
    ms: dict[str, list[float]] = {name: [] for name in names}
    cpu_ms = {name: dict.fromkeys(behind[name].pids if name in behind else (ALONE,), 0.0) for name in names}
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            before = _parts(behind.get(name))
            ms[name] += timed(calls[name], count)
            for part, now in _parts(behind.get(name)).items():
                cpu_ms[name][part] += (now - before[part]) / (rounds * count)
    return {"ms": ms, "nodes_ms": nodes, "cpu_ms": cpu_ms, "bytes": [len(one) for one in jpegs]}


def _parts(served: Served | None) -> dict[str, float]:
    """What each part has had of the processors so far, in ms; this process where there are none."""
    if served is None:
        return {ALONE: time.process_time() * 1000}
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

    send = _photos(rest)

    def of_rest(encoded: bytes) -> bytes:
        answer = send(encoded)
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


def _photos(http: Http) -> Callable[[bytes], bytes]:
    """A photo as it is, to the deployment whose nodes get protobuf."""
    return lambda encoded: http.post(gateway.predictions(BINARY), encoded, content_type=JPEG)


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
        for name in by_services(calls):
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
    send = _photos(Http(served.port))
    return lambda number: send(jpegs[number % len(jpegs)])


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


if __name__ == "__main__":
    sys.exit(main())
