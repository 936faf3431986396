"""A reader's own SeldonDeployment: another name and namespace, a class of their own, a model of their own.

Everything here is what a reader writes: one folder below ``images/``, one manifest, one registered model.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import grpc
from google.protobuf import json_format

from slipway.contract.protos import prediction_pb2 as pb
from slipway.contract.protos import prediction_pb2_grpc as services
from tests.data import REPOSITORY, SHARED_DATA
from tests.e2e.platform import Platform
from tests.waiting import POLL_S

NAMESPACE = "laboratory"
NAME = "walkers"
MODEL = "bodies"
IMAGE = "reader/label-counter"
NETWORK = "yolo-fastest-1.1_body"
OTHER_NETWORK = "yolo-fastest-1.1"
CALL_TIMEOUT_S = 15.0
PHOTO = SHARED_DATA / "photos" / "person.jpg"

IMAGE_YAML = f"name: {IMAGE}\nclass: label_counter.LabelCounter\n"
CLASS = '''
from collections import Counter


class LabelCounter:
    """Adds to a detector's answer how many of each label it holds."""

    greeting = "first"

    def __init__(self, unit="boxes"):
        self.unit = unit

    def transform_output(self, X, names=None, meta=None):
        counts = Counter(item["label"] for item in X["detections"])
        return {**X, "counts": dict(counts), "unit": self.unit, "greeting": self.greeting}
'''


@dataclass(frozen=True)
class Answer:
    """One prediction; ``model`` is the header ``x-slipway-model``."""

    body: dict[str, Any]
    model: str


def write_image_folder(root: Path, name: str = "label-counter") -> Path:
    """A copy of the repository's ``images/`` and ``requirements/`` with the reader's folder; answers that folder."""
    for copied in ("images", "requirements"):
        shutil.copytree(REPOSITORY / copied, root / copied, dirs_exist_ok=True)
    folder = root / "images" / name
    folder.mkdir()
    (folder / "image.yaml").write_text(IMAGE_YAML)
    (folder / "label_counter.py").write_text(CLASS)
    return folder


def register(platform: Platform, network: str = NETWORK, *, names: str = "body", alias: str = "") -> dict[str, Any]:
    """Register a cfg/weights pair of the shared data as the next version of MODEL; ``{name, version, digest}``."""
    files = {
        "--cfg": f"cfg/{network}.cfg",
        "--weights": f"weights/{network}.weights",
        "--names": f"names/{names}.names",
    }
    words = [word for flag, path in files.items() for word in (flag, str(SHARED_DATA / path))]
    out = platform.slipway("model", "register", MODEL, *words, *(["--alias", alias] if alias else []), "--json")
    registered: dict[str, Any] = json.loads(out.strip().splitlines()[-1])
    return registered


def create_namespace(platform: Platform) -> None:
    """Applied as a manifest: ``kubectl create namespace`` posts protobuf, which the API does not read."""
    platform.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})


def manifest(tag: str = "1", *, replicas: int = 2, model_uri: str = f"models:/{MODEL}@champion") -> dict[str, Any]:
    """Three nodes over two componentSpecs."""
    detector = {"name": "detector", "type": "MODEL", "modelUri": model_uri}
    resize = {
        "name": "resize",
        "type": "TRANSFORMER",
        "parameters": [{"name": "input", "value": "320x320", "type": "STRING"}],
        "children": [detector],
    }
    graph = {
        "name": "counter",
        "type": "OUTPUT_TRANSFORMER",
        "parameters": [{"name": "unit", "value": "walkers", "type": "STRING"}],
        "children": [resize],
    }
    first = [
        {"name": "counter", "image": f"{IMAGE}:{tag}"},
        {"name": "resize", "image": "slipway/image-transformer:0.1.0"},
    ]
    second = [{"name": "detector", "image": "slipway/yolo-detector:0.1.0"}]
    return {
        "apiVersion": "machinelearning.seldon.io/v1",
        "kind": "SeldonDeployment",
        "metadata": {"name": NAME, "namespace": NAMESPACE},
        "spec": {
            "predictors": [
                {
                    "name": "main",
                    "replicas": replicas,
                    "graph": graph,
                    "componentSpecs": [{"spec": {"containers": first}}, {"spec": {"containers": second}}],
                }
            ]
        },
    }


async def over_rest(platform: Platform, photo: bytes, *, name: str = NAME, namespace: str = NAMESPACE) -> Answer:
    """Raises AssertionError with the body of an answer that is not 200."""
    url = f"http://{platform.gateway}/seldon/{namespace}/{name}/api/v1.0/predictions"
    timeout = aiohttp.ClientTimeout(total=CALL_TIMEOUT_S)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.post(url, data=photo, headers={"Content-Type": "image/jpeg"}) as answer,
    ):
        text = await answer.text()
        assert answer.status == 200, f"{url}: HTTP {answer.status}: {text}"
        return Answer(json.loads(text)["jsonData"], answer.headers.get("x-slipway-model", ""))


async def eventually_over_rest(
    platform: Platform, photo: bytes, *, name: str = NAME, namespace: str = NAMESPACE, timeout_s: float
) -> Answer:
    """The first 200, from before anything listens."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return await over_rest(platform, photo, name=name, namespace=namespace)
        except (AssertionError, TimeoutError, aiohttp.ClientError):
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(POLL_S)


async def over_grpc(platform: Platform, photo: bytes) -> Answer:
    async with grpc.aio.insecure_channel(platform.gateway) as channel:
        call = services.SeldonStub(channel).Predict(  # type: ignore[no-untyped-call]
            pb.SeldonMessage(binData=photo),
            metadata=(("seldon", NAME), ("namespace", NAMESPACE)),
            timeout=CALL_TIMEOUT_S,
        )
        message = json_format.MessageToDict(await call)
        metadata = dict([*(await call.initial_metadata() or ()), *(await call.trailing_metadata() or ())])
    return Answer(message["jsonData"], str(metadata.get("x-slipway-model", "")))
