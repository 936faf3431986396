"""``make demo``: two registered versions behind a 90/10 canary, a few hundred photos, and what came back.

Idempotent: what is up, registered, built or applied already is left alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import cv2
import grpc
import yaml
from google.protobuf import json_format

from models.shapes.draw import draw
from models.shapes.evaluate import HELD_OUT, held_out_map, shapes_model
from slipway.contract.limits import MAX_BODY_BYTES
from slipway.contract.protos import prediction_pb2 as pb
from slipway.contract.protos import prediction_pb2_grpc as services
from slipway.drill.interval import binomial_bounds
from slipway.onebox.paths import Paths
from slipway.onebox.settings import load_settings

REPOSITORY = Path(__file__).resolve().parents[1]
SLIPWAY = Path(sys.executable).with_name("slipway")
IMAGES = ("image-transformer", "yolo-detector")
SHARED_DATA = Path(os.environ.get("SLIPWAY_SHARED", REPOSITORY.parent / "shared")) / "data"
COCO = "yolo-fastest-1.1-xl"
COCO_MODEL = "coco"
MANIFEST = REPOSITORY / "seldon" / "overlays" / "canary" / "seldondeployment.yaml"
AT_ONCE = 4
READY_TIMEOUT_S = 120.0
CALL_TIMEOUT_S = 10.0
PICTURE = REPOSITORY / "build" / "demo.png"


@dataclass(frozen=True)
class Reply:
    """One prediction: ``number`` is the photo's, ``body`` the jsonData, ``milliseconds`` as the client saw them."""

    number: int
    way: str
    predictor: str
    body: dict[str, Any]
    milliseconds: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=240, help="photos over each of REST and gRPC (default 240)")
    parser.add_argument("--gateway", help="HOST:PORT; default the port that this SLIPWAY_HOME was started with")
    arguments = parser.parse_args()
    started = time.monotonic()
    slipway("up")
    precisions = register()
    for image in IMAGES:
        slipway("image", "build", f"slipway/{image}:0.1.0", f"images/{image}")
    slipway("apply", "-k", "seldon/overlays/canary")
    gateway = arguments.gateway or f"127.0.0.1:{load_settings(Paths.from_env().settings).gateway_port}"
    traffic = declared_traffic()
    asyncio.run(wait_available(gateway, {name for name, percent in traffic.items() if percent}))
    replies = asyncio.run(send_all(gateway, arguments.photos))
    fair = report(replies, precisions, traffic["canary"] / 100)
    draw_picture(max(replies, key=lambda reply: (reply.predictor == "canary", len(reply.body["detections"]))))
    print(f"\n{PICTURE.relative_to(REPOSITORY)}: a photo with the canary's boxes")
    slipway("status")
    print(f"done in {time.monotonic() - started:.0f} s; it keeps running until: slipway down")
    return 0 if fair else 1


def slipway(*words: str) -> None:
    """Run one command of ours where everyone can see it."""
    print(f"$ slipway {' '.join(words)}", flush=True)
    done = subprocess.run([SLIPWAY, *words], cwd=REPOSITORY, check=False)
    if done.returncode:
        raise SystemExit(f"demo: slipway {words[0]} ended with {done.returncode}; it says above why")


def register() -> dict[str, float]:
    """Shapes versions 1 and 2, and a COCO model where its files are. Version → mAP@0.5 on the held-out photos."""
    shown = subprocess.run(
        [SLIPWAY, "model", "list", "--json"], cwd=REPOSITORY, check=True, capture_output=True, text=True
    )
    known = {model["name"]: model["versions"] for model in json.loads(shown.stdout)}
    precisions = {}
    for version in (1, 2):
        model = shapes_model(version)
        precisions[str(version)] = held_out_map(model)
        if version not in known.get("shapes", []):
            alias = "champion" if version == 1 else "challenger"
            files = ("--cfg", model.cfg_path, "--weights", model.weights_path, "--names", model.names_path)
            tag = f"map50={precisions[str(version)]:.4f}"
            slipway(
                "model",
                "register",
                "shapes",
                *map(str, files),
                "--alias",
                alias,
                "--licence",
                "Apache-2.0",
                "--tag",
                tag,
            )
    if SHARED_DATA.is_dir() and COCO_MODEL not in known:
        parts = {"--cfg": f"cfg/{COCO}.cfg", "--weights": f"weights/{COCO}.weights", "--names": "names/coco.names"}
        words = [word for flag, path in parts.items() for word in (flag, str(SHARED_DATA / path))]
        slipway("model", "register", COCO_MODEL, *words, "--alias", "champion", "--licence", "YOLO LICENSE v2")
    return precisions


def declared_traffic() -> dict[str, int]:
    """Predictor → percent, as the manifest that was applied says."""
    manifest = yaml.safe_load(MANIFEST.read_text())
    return {predictor["name"]: predictor["traffic"] for predictor in manifest["spec"]["predictors"]}


def photo(number: int) -> bytes:
    """A drawn photo as JPEG."""
    ok, encoded = cv2.imencode(".jpg", draw(HELD_OUT + number).pixels[..., ::-1])
    assert ok  # noqa: S101  - a drawn array always encodes
    return encoded.tobytes()


async def wait_available(gateway: str, predictors: set[str]) -> None:
    """Until each of ``predictors`` has answered a photo: its Pods have loaded their models."""
    url = f"http://{gateway}/seldon/default/yolo/api/v1.0/predictions"
    deadline = time.monotonic() + READY_TIMEOUT_S
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=CALL_TIMEOUT_S)) as session:
        seen: set[str] = set()
        while not predictors <= seen:
            try:
                async with session.post(url, data=photo(0), headers={"Content-Type": "image/jpeg"}) as answer:
                    text = await answer.text()
                    if answer.status == 200:
                        seen.add(answer.headers.get("x-slipway-predictor", ""))
                        continue
            except (aiohttp.ClientError, TimeoutError) as error:
                text = str(error) or f"no answer within {CALL_TIMEOUT_S:g} s"
            if time.monotonic() > deadline:
                raise SystemExit(
                    f"yolo did not become ready in {READY_TIMEOUT_S:g} s: {text} (slipway describe sdep yolo)"
                )
            await asyncio.sleep(0.2)


async def send_all(gateway: str, photos: int) -> list[Reply]:
    """Each photo over REST and over gRPC, a few at a time.

    All are drawn before the first is sent: drawing would take the time that the calls are given.
    """
    drawn = [photo(number) for number in range(photos)]
    limit = asyncio.Semaphore(AT_ONCE)
    channel = grpc.aio.insecure_channel(gateway, options=[("grpc.max_receive_message_length", MAX_BODY_BYTES)])
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=CALL_TIMEOUT_S)) as session, channel:
        stub = services.SeldonStub(channel)  # type: ignore[no-untyped-call]

        async def one(way: str, number: int) -> Reply:
            async with limit:
                started = time.perf_counter()
                predictor, body = await (
                    over_rest(session, gateway, drawn[number]) if way == "REST" else over_grpc(stub, drawn[number])
                )
            return Reply(number, way, predictor, body, (time.perf_counter() - started) * 1000)

        return await asyncio.gather(*(one(way, number) for way in ("REST", "gRPC") for number in range(photos)))


async def over_rest(session: aiohttp.ClientSession, gateway: str, encoded: bytes) -> tuple[str, dict[str, Any]]:
    url = f"http://{gateway}/seldon/default/yolo/api/v1.0/predictions"
    async with session.post(url, data=encoded, headers={"Content-Type": "image/jpeg"}) as answer:
        if answer.status != 200:
            raise SystemExit(f"REST: HTTP {answer.status}: {await answer.text()}")
        return answer.headers["x-slipway-predictor"], (await answer.json())["jsonData"]


async def over_grpc(stub: Any, encoded: bytes) -> tuple[str, dict[str, Any]]:
    call = stub.Predict(
        pb.SeldonMessage(binData=encoded),
        metadata=(("seldon", "yolo"), ("namespace", "default")),
        timeout=CALL_TIMEOUT_S,
    )
    message = json_format.MessageToDict(await call)
    metadata = dict([*await call.initial_metadata(), *await call.trailing_metadata()])
    return str(metadata["x-slipway-predictor"]), message["jsonData"]


def report(replies: list[Reply], precisions: dict[str, float], share: float) -> bool:
    """Print the table. False for a split that a canary of ``share`` gives less than once in a million runs."""
    low, high = binomial_bounds(len(replies), share)
    counts = Counter((reply.predictor, str(reply.body["model"]["version"])) for reply in replies)
    print(f"\n{'PREDICTOR':<12}{'MODEL':<12}{'mAP@0.5':<10}{'REST':>6}{'gRPC':>6}{'ALL':>6}{'SHARE':>8}")
    for (predictor, version), count in sorted(counts.items(), reverse=True):
        ways = Counter(reply.way for reply in replies if reply.predictor == predictor)
        print(
            f"{predictor:<12}{'shapes/' + version:<12}{precisions[version]:<10.3f}"
            f"{ways['REST']:>6}{ways['gRPC']:>6}{count:>6}{count / len(replies):>8.1%}"
        )
    canary = sum(count for (predictor, _), count in counts.items() if predictor == "canary")
    print(f"declared canary share {share:.0%}: {low} to {high} of {len(replies)} expected, {canary} seen")
    for way in ("REST", "gRPC"):
        times = [reply.milliseconds for reply in replies if reply.way == way]
        print(f"{way}: p50 {statistics.median(times):.1f} ms, p95 {statistics.quantiles(times, n=20)[18]:.1f} ms")
    return low <= canary <= high


def draw_picture(reply: Reply) -> None:
    """Boxes, labels and scores on a reply's photo, three times its size."""
    pixels = cv2.resize(
        draw(HELD_OUT + reply.number).pixels[..., ::-1], None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC
    )
    for item in reply.body["detections"]:
        box = {side: round(3 * value) for side, value in item["box"].items()}
        cv2.rectangle(pixels, (box["x_min"], box["y_min"]), (box["x_max"], box["y_max"]), (255, 255, 255), 2)
        text = f"{item['label']} {item['confidence']:.2f}"
        cv2.putText(pixels, text, (box["x_min"], box["y_min"] - 4), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1)
    PICTURE.parent.mkdir(exist_ok=True)
    cv2.imwrite(str(PICTURE), pixels)


if __name__ == "__main__":
    sys.exit(main())
