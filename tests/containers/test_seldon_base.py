"""seldon/base in real containers: the Pod templates that the controller makes, with nothing changed, answer photos."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import cv2
import grpc
import pytest
import yaml
from google.protobuf import json_format

from models.shapes.draw import draw
from models.shapes.evaluate import HELD_OUT, shapes_model
from slipway import __version__
from slipway.contract.protos import prediction_pb2 as pb
from slipway.contract.protos import prediction_pb2_grpc as services
from slipway.contract.sdep import SeldonDeployment
from slipway.controller.desired import desired
from slipway.controller.facts import Facts
from slipway.controller.models import Known, Reference, resolve_models
from slipway.onebox.images.context import FILES_LABEL
from slipway.onebox.images.spec import load_image_spec
from slipway.onebox.runner.spec import Pod
from slipway.onebox.services.credentials import load_model_credentials
from slipway.registry import RegistryAddress, ResolvedModel, resolve
from tests.containers.conftest import IMAGES
from tests.containers.docker import Docker
from tests.containers.node import Node
from tests.containers.read_only import read_only
from tests.data import REPOSITORY, SHARED_DATA
from tests.e2e.platform import Platform

pytestmark = [pytest.mark.containers, pytest.mark.timeout(900, func_only=True)]

MANIFEST = REPOSITORY / "seldon" / "base" / "yolo" / "seldondeployment.yaml"
COCO = "yolo-fastest-1.1-xl"
EXECUTOR = "http://127.0.0.1:8000/api/v1.0/predictions"
EXECUTOR_GRPC = "127.0.0.1:5001"
CALL_TIMEOUT_S = 20
CONFIDENCE_TOLERANCE = 0.01
ALONE = ("run", "--rm", "--pull", "never", "--network", "none", "--read-only", "--cap-drop", "ALL")
DIGESTS_FILES = """
import hashlib, json, os, pathlib
root = pathlib.Path("/opt/slipway/app")
files = [path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
listed = [[str(path.relative_to(root)), hashlib.sha256(path.read_bytes()).hexdigest(), os.access(path, os.X_OK)] for path in files]
print("sha256:" + hashlib.sha256(json.dumps(sorted(listed)).encode()).hexdigest())
"""
Object = dict[str, Any]


def manifest(uri: str = "", size: str = "") -> Object:
    """seldon/base/yolo; ``uri`` and ``size`` are what a user with another model writes instead."""
    loaded: Object = yaml.safe_load(MANIFEST.read_text())
    transformer = loaded["spec"]["predictors"][0]["graph"]
    if uri:
        transformer["children"][0]["modelUri"] = uri
        transformer["parameters"][0]["value"] = size
    return loaded


def objects(loaded: Object, platform: Platform) -> list[Object]:
    """What a cluster's controller makes of a manifest, its models resolved by the registry."""
    sdep = SeldonDeployment.from_json({**loaded, "metadata": {**loaded["metadata"], "uid": "uid-1"}})
    registry = RegistryAddress.from_env(load_model_credentials(platform.paths))
    assert registry is not None

    async def resolved() -> Mapping[tuple[str, str], ResolvedModel]:
        async with aiohttp.ClientSession() as session:

            async def ask(wanted: Reference) -> ResolvedModel:
                return await resolve(wanted.uri, registry=registry, session=session)

            found = await resolve_models(sdep, lambda _: Known(None, is_current=False), ask)
        return found.models

    return desired(sdep, Facts(models=asyncio.run(resolved())))


@contextmanager
def pods(node: Node, made: list[Object], *, name: str, is_read_only: bool = False) -> Iterator[Pod]:
    """The Pod of the one Deployment, as a namespace of the level `restricted` demands; ``is_read_only``: roots, too."""
    maps = {("default", item["metadata"]["name"]): item for item in made if item["kind"] == "ConfigMap"}
    [deployment] = [item for item in made if item["kind"] == "Deployment"]
    template = read_only(deployment["spec"]["template"]) if is_read_only else deployment["spec"]["template"]
    own = replace(node, sources=replace(node.sources, config_maps=maps))
    with own.running(template, namespace="default", name=name) as pod:
        yield pod


async def over_rest(photo: bytes) -> tuple[Object, Mapping[str, str]]:
    timeout = aiohttp.ClientTimeout(total=CALL_TIMEOUT_S)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.post(EXECUTOR, data=photo, headers={"Content-Type": "image/jpeg"}) as answer,
    ):
        assert answer.status == 200, await answer.text()
        body: Object = await answer.json()
        return body["jsonData"], answer.headers


async def over_grpc(photo: bytes) -> Object:
    async with grpc.aio.insecure_channel(EXECUTOR_GRPC) as channel:
        stub: Any = services.SeldonStub(channel)  # type: ignore[no-untyped-call]
        answer = await stub.Predict(pb.SeldonMessage(binData=photo), timeout=CALL_TIMEOUT_S)
    return dict(json_format.MessageToDict(answer)["jsonData"])


@pytest.fixture(scope="module")
def shapes(platform: Platform) -> None:
    """``models:/shapes/1``, which the manifest names."""
    model = shapes_model(1)
    register(platform, "shapes", model.cfg_path, model.weights_path, model.names_path)


@pytest.fixture(scope="module")
def coco(platform: Platform) -> None:
    register(
        platform,
        "coco",
        *(SHARED_DATA / name for name in (f"cfg/{COCO}.cfg", f"weights/{COCO}.weights", "names/coco.names")),
    )


def register(platform: Platform, name: str, cfg: Path, weights: Path, names: Path) -> None:
    platform.slipway("model", "register", name, "--cfg", str(cfg), "--weights", str(weights), "--names", str(names))


def labels(answer: Object) -> list[tuple[str, float]]:
    return [(one["label"], one["confidence"]) for one in answer["detections"]]


@pytest.mark.usefixtures("shapes")
def test_seldon_base_answers_over_rest_and_grpc_as_its_model_does(node: Node, platform: Platform) -> None:
    ok, encoded = cv2.imencode(".jpg", draw(HELD_OUT).pixels[..., ::-1])
    assert ok
    with pods(node, objects(manifest(), platform), name="base") as pod:
        rest, headers = asyncio.run(over_rest(encoded.tobytes()))
        through_grpc = asyncio.run(over_grpc(encoded.tobytes()))
    assert len(pod.containers) == 3
    assert headers["x-slipway-model"].startswith("shapes/1 sha256:")
    assert headers["x-slipway-predictor"] == "stable"
    assert labels(rest)
    assert labels(rest) == labels(through_grpc)


@pytest.mark.data
@pytest.mark.usefixtures("coco")
@pytest.mark.parametrize("is_read_only", [False, True], ids=["as made", "read-only"])
def test_published_weights_from_s3_find_the_bird(node: Node, platform: Platform, is_read_only: bool) -> None:
    photo = (SHARED_DATA / "photos" / "bird.jpg").read_bytes()
    made = objects(manifest("models:/coco/1", "320x320"), platform)
    with pods(node, made, name=f"bird-{is_read_only}".lower(), is_read_only=is_read_only) as pod:
        assert "models:/coco/1: sha256:" in node.logs(pod, "yolo-detector-model-initializer")
        rest, headers = asyncio.run(over_rest(photo))
        through_grpc = asyncio.run(over_grpc(photo))
    [(label, confidence)] = labels(rest)
    assert label == "bird"
    assert confidence == pytest.approx(1.0, abs=CONFIDENCE_TOLERANCE)
    assert labels(through_grpc) == labels(rest)
    assert headers["x-slipway-model"].startswith("coco/1 sha256:")


@pytest.mark.data
@pytest.mark.usefixtures("coco")
def test_weights_that_are_not_the_registered_ones_start_nothing(node: Node, platform: Platform) -> None:
    made = objects(manifest("models:/coco/1", "320x320"), platform)
    [deployment] = [item for item in made if item["kind"] == "Deployment"]
    env = deployment["spec"]["template"]["spec"]["initContainers"][0]["env"]
    [digest] = [item for item in env if item["name"] == "SLIPWAY_MODEL_DIGEST"]
    digest["value"] = f"sha256:{'0' * 64}"
    with pytest.raises(AssertionError, match="refused: models:/coco/1"), pods(node, made, name="wrong"):
        pass


@pytest.mark.parametrize("name", IMAGES)
def test_a_container_image_holds_the_files_and_settings_of_image_yaml(docker: Docker, bills: Path, name: str) -> None:
    """That these files are also the local image's: tests/onebox_images/test_context.py."""
    spec = load_image_spec(REPOSITORY / "images" / name)
    image = f"{spec.name}:{__version__}"
    config = json.loads(docker.inspect(image, "{{json .Config}}"))
    assert in_image(docker, image, DIGESTS_FILES).strip() == config["Labels"][FILES_LABEL]
    assert config["User"] == "8888:8888"
    assert tuple(config["Entrypoint"]) == spec.entrypoint
    assert set(config.get("ExposedPorts") or ()) == {f"{port}/tcp" for port in spec.ports}
    assert config["Labels"]["org.opencontainers.image.title"] == spec.name
    assert config["StopSignal"] == "SIGTERM"
    assert (bills / f"{name}.cdx.json").exists()


@pytest.mark.parametrize("name", IMAGES)
def test_the_bill_of_an_image_names_each_package_of_its_lock(docker: Docker, bills: Path, name: str) -> None:
    bill = json.loads((bills / f"{name}.cdx.json").read_text())
    locked = dict(
        line.split(" ")[0].split("==")
        for line in load_image_spec(REPOSITORY / "images" / name).requirements.read_text().splitlines()
        if "==" in line and not line.startswith((" ", "#"))
    )
    assert bill["bomFormat"] == "CycloneDX"
    assert {normal(item["name"]): item["version"] for item in bill["components"]} == locked
    assert (
        json.loads(
            in_image(docker, f"slipway/{name}:{__version__}", "print(open('/opt/slipway/sbom.cdx.json').read())")
        )
        == bill
    )


def normal(name: str) -> str:
    """https://packaging.python.org/en/latest/specifications/name-normalization/."""
    return re.sub(r"[-_.]+", "-", name).lower()


def in_image(docker: Docker, image: str, program: str) -> str:
    """What a program prints in a container that may do nothing."""
    return docker.run(*ALONE, "--entrypoint", "python", image, "-c", program).stdout


def test_the_controller_starts_in_its_image(docker: Docker, bills: Path) -> None:
    assert bills.is_dir()
    assert "usage: " in docker.run(*ALONE, f"slipway/controller:{__version__}", "--help").stdout
