"""The graph components through the gateway: a bandit that learns, two detectors fused, a detector that is watched."""

from __future__ import annotations

import json
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psycopg2
import pytest
import yaml

from model_wrappers.drift.reference import MIN_PHOTOS
from model_wrappers.fusion import WeightedBoxFusion
from models.shapes.draw import draw
from models.shapes.evaluate import shapes_model
from scripts.demo import photo
from slipway.client import Client, Refused
from slipway.onebox.services.postgres import USER
from tests.data import REPOSITORY
from tests.e2e.platform import Platform
from tests.e2e.test_wire_forms import CALL_TIMEOUT_S, PHOTO, assert_same_boxes, deployed, expected, post
from tests.waiting import wait_until

IMAGES = ("thompson-router", "box-fusion", "detection-drift")
DATABASE, SECRET = "shared_by_routers", "router-state"
ROUNDS = 40
WINDOW = 20
WATCHED = "watched"
SETTLE_S = 20.0


def overlay(name: str) -> dict[str, Any]:
    path = REPOSITORY / "seldon" / "overlays" / name / "seldondeployment.yaml"
    manifest: dict[str, Any] = yaml.safe_load(path.read_text())
    return manifest


def node(graph: dict[str, Any], name: str) -> dict[str, Any]:
    """A node of a graph whose nodes have one child above it."""
    return graph if graph["name"] == name else node(graph["children"][0], name)


def set_parameter(node: dict[str, Any], name: str, value: str) -> None:
    next(one for one in node["parameters"] if one["name"] == name)["value"] = value


def url(platform: Platform, name: str) -> str:
    return f"http://{platform.gateway}/seldon/default/{name}"


@pytest.fixture(scope="module", autouse=True)
def images(platform: Platform) -> None:
    for image in IMAGES:
        platform.slipway("image", "build", f"slipway/{image}:0.1.0", f"images/{image}")


@pytest.fixture(scope="module")
def database(platform: Platform) -> Iterator[str]:
    """One of the platform's PostgreSQL, told to the routers by a Secret."""
    address = f"postgresql://{USER}@/{{}}?host={platform.paths.sockets}"
    with closing(psycopg2.connect(address.format("postgres"))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"create database {DATABASE}")
    manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET, "namespace": "default"}}
    platform.apply({**manifest, "stringData": {"dsn": address.format(DATABASE)}})
    yield address.format(DATABASE)
    platform.kubectl("delete", "secret", SECRET)


@pytest.fixture(scope="module")
def bandit(platform: Platform, database: str) -> Iterator[str]:
    """The overlay with two replicas, as its comment says to share the state."""
    manifest = overlay("bandit")
    predictor = manifest["spec"]["predictors"][0]
    predictor["replicas"] = 2
    set_parameter(node(predictor["graph"], "router"), "state", "postgres")
    containers = predictor["componentSpecs"][0]["spec"]["containers"]
    reference = {"secretKeyRef": {"name": SECRET, "key": "dsn"}}
    next(one for one in containers if one["name"] == "router")["env"] = [
        {"name": "ROUTER_STATE_DSN", "valueFrom": reference}
    ]
    yield from deployed(platform, manifest)


def row(database: str) -> tuple[list[int], list[float]]:
    """Feedbacks and rewards of each branch, as PostgreSQL has them."""
    with closing(psycopg2.connect(database)) as connection, connection.cursor() as cursor:
        cursor.execute("select feedbacks, rewards from slipway_router where key = 'bandit/default/router'")
        feedbacks, rewards = cursor.fetchone() or ([], [])
        return feedbacks, rewards


def test_bandit_learns_from_feedback_and_two_replicas_count_every_one(
    platform: Platform, bandit: str, database: str
) -> None:
    """Version 2 is good, version 1 is not; each reply's header says which one it was."""
    chosen = []
    with Client(url(platform, bandit)) as client:
        for number in range(ROUNDS):
            found = client.detect(photo(number % 10))
            assert found.model is not None
            branch = found.reply.routing["router"]
            assert found.model.version == str(branch + 1)
            client.feedback(float(branch == 1), reply=found)
            chosen.append(branch)
    counted = Counter(chosen)
    assert row(database) == ([counted[0], counted[1]], [0.0, float(counted[1])])
    assert Counter(chosen[ROUNDS // 2 :])[1] > 0.7 * ROUNDS / 2
    pods = [pod for pod in platform.pods() if pod["metadata"]["name"].startswith("bandit-")]
    assert len(pods) == 2
    for pod in pods:
        wait_until(
            lambda pod=pod: samples(pod, "router").get(("router_feedbacks", "1")) == counted[1],
            timeout_s=SETTLE_S,
            what=f"{pod['metadata']['name']} tells what both have counted",
        )


def samples(pod: dict[str, Any], container: str) -> dict[tuple[str, str], float]:
    """A component's own gauges and counters by name and its branch or feature; a call makes the router tell the newest."""
    found = next(one for one in pod["spec"]["containers"] if one["name"] == container)
    ports = {port["name"]: port["containerPort"] for port in found["ports"]}
    address = pod["status"]["podIP"]
    route = urllib.request.Request(
        f"http://{address}:{ports['http']}/route", b'{"strData": ""}', {"Content-Type": "application/json"}
    )
    if container == "router":
        urllib.request.urlopen(route, timeout=CALL_TIMEOUT_S).close()
    with urllib.request.urlopen(f"http://{address}:{ports['metrics']}/prometheus", timeout=CALL_TIMEOUT_S) as answer:
        lines = [line for line in answer.read().decode().splitlines() if line.startswith(("router_", "drift_"))]
    told = {}
    for line in lines:
        name, _, rest = line.partition("{")
        labels, _, value = rest.rpartition("} ")
        pairs = dict(pair.split("=", 1) for pair in labels.replace('"', "").split(","))
        told[name, pairs.get("branch") or pairs.get("feature") or ""] = float(value)
    return told


def give_feedback(platform: Platform, name: str, feedback: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    body = json.dumps(feedback).encode()
    return post(platform, body, "application/json", name=name, path="feedback")[:2]


def test_feedback_over_plain_rest_needs_the_routing_and_a_share(platform: Platform, bandit: str, database: str) -> None:
    before = row(database)
    routed = {"response": {"meta": {"routing": {"router": 0}}}}
    status, answer = give_feedback(platform, bandit, {"reward": 1.0})
    assert (status, "response.meta.routing" in json.dumps(answer)) == (400, True)
    status, answer = give_feedback(platform, bandit, {**routed, "reward": 7.0})
    assert (status, "reward 7.0 is not a number from 0" in json.dumps(answer)) == (400, True)
    assert row(database) == before
    assert give_feedback(platform, bandit, {**routed, "reward": 0.5})[0] == 200
    (feedbacks, others), (rewards, others_rewards) = before
    assert row(database) == ([feedbacks + 1, others], [rewards + 0.5, others_rewards])
    for transport in ("rest", "grpc"):
        with Client(url(platform, bandit), transport=transport) as client:
            found = client.detect(photo(1))
            with pytest.raises(Refused, match="reward 2.0"):
                client.feedback(2.0, reply=found)
            before = row(database)
            client.feedback(1.0, reply=found)
            counted = [one + (place == found.reply.routing["router"]) for place, one in enumerate(before[0])]
            assert row(database)[0] == counted


def test_address_of_the_state_is_in_no_command_line(platform: Platform, bandit: str, database: str) -> None:
    lines = [Path(f"/proc/{pid}/cmdline").read_text(errors="replace") for pid in platform.processes()]
    assert sum("ThompsonRouter" in line for line in lines) >= 2
    assert not any(DATABASE in line for line in lines if not line.startswith("postgres:"))


@pytest.fixture(scope="module")
def ensemble(platform: Platform) -> Iterator[str]:
    yield from deployed(platform, overlay("ensemble"))


def test_two_detectors_answer_as_one(platform: Platform, ensemble: str) -> None:
    """What the component makes of what the library finds with either version."""
    image = {"width": 256, "height": 192}
    answers = [{"detections": expected(version), "image": image} for version in ("1", "2")]
    wanted = WeightedBoxFusion(weights="1,2").aggregate(answers, [])["detections"]
    status, body, headers = post(platform, photo(PHOTO), "image/jpeg", name=ensemble)
    assert status == 200
    found = body["jsonData"]
    assert_same_boxes(found["detections"], wanted)
    assert [model["version"] for model in found["models"]] == ["1", "2"]
    assert found["image"] == image
    assert {"shapes/1", "shapes/2"} <= set(headers["x-slipway-model"].replace(",", " ").split())
    with Client(url(platform, ensemble), transport="grpc") as client:
        assert [one.label for one in client.detect(photo(PHOTO))] == [one["label"] for one in wanted]


@pytest.fixture(scope="module")
def watched(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The overlay, with a version that was registered with its photos."""
    folder = tmp_path_factory.mktemp("photos")
    for seed in range(2 * MIN_PHOTOS):
        assert cv2.imwrite(str(folder / f"{seed:03}.png"), draw(seed).pixels[..., ::-1])
    model = shapes_model(2)
    files = {"--cfg": model.cfg_path, "--weights": model.weights_path, "--names": model.names_path}
    words = [word for flag, path in files.items() for word in (flag, str(path))]
    platform.slipway("model", "register", WATCHED, *words, "--drift-reference", str(folder))
    manifest = overlay("drift")
    graph = manifest["spec"]["predictors"][0]["graph"]
    for name in ("detection-drift", "yolo-detector"):
        node(graph, name)["modelUri"] = f"models:/{WATCHED}/1"
    set_parameter(node(graph, "detection-drift"), "window", str(WINDOW))
    yield from deployed(platform, manifest)


def darkened(number: int) -> bytes:
    ok, encoded = cv2.imencode(".jpg", cv2.imdecode(np.frombuffer(photo(number), np.uint8), cv2.IMREAD_COLOR) // 3)
    assert ok
    return encoded.tobytes()


def test_watched_detector_answers_as_before_and_tells_of_dark_photos(platform: Platform, watched: str) -> None:
    def tag_after(photos: list[bytes]) -> dict[str, Any]:
        bodies = [post(platform, one, "image/jpeg", name=watched)[1] for one in photos]
        tag: dict[str, Any] = bodies[-1]["meta"]["tags"]["drift"]
        return tag

    status, body, headers = post(platform, photo(PHOTO), "image/jpeg", name=watched)
    assert status == 200
    assert_same_boxes(body["jsonData"]["detections"], expected("2"))
    assert body["meta"]["tags"]["drift"]["state"] == "filling"
    assert headers["x-slipway-model"].startswith(f"{WATCHED}/1 sha256:")
    assert tag_after([photo(number) for number in range(WINDOW - 1)]) == {"state": "stable", "features": []}
    tag = tag_after([darkened(number) for number in range(WINDOW)])
    assert tag["state"] == "drifted"
    assert "brightness" in tag["features"]
    (pod,) = [pod for pod in platform.pods() if pod["metadata"]["name"].startswith("drift-")]
    told = samples(pod, "detection-drift")
    assert told["drift_alarm", "brightness"] == 1
    assert told["drift_divergence", "brightness"] > told["drift_threshold", "brightness"]
