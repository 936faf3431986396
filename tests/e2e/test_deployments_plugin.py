"""``mlflow deployments`` with the target ``slipway``: real MLflow, PostgreSQL, S3, API, Pods and gateway."""

from __future__ import annotations

import json
import re
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pandas as pd
import pytest
from click.testing import CliRunner
from mlflow.deployments import cli, get_deploy_client, run_local
from mlflow.exceptions import MlflowException

from scripts.demo import photo
from slipway.client import Client, ClientError
from tests.data import REPOSITORY
from tests.e2e.platform import Platform
from tests.e2e.test_wire_forms import PHOTO, assert_same_boxes, expected
from tests.waiting import wait_until

NAME = "spots"
MLFLOW = (str(Path(sys.executable).parent / "mlflow"), "deployments")
MODELS = {"champion": "1", "challenger": "2"}


@pytest.fixture(scope="module")
def deployments(variables: dict[str, str]) -> Any:
    return get_deploy_client("slipway")


@pytest.fixture(scope="module")
def spots(deployments: Any) -> Iterator[dict[str, Any]]:
    """A deployment of ``shapes@champion``, Available when it is created."""
    yield deployments.create_deployment(NAME, "models:/shapes@champion")
    deployments.delete_deployment(NAME)


@pytest.fixture
def other(deployments: Any, request: pytest.FixtureRequest) -> Iterator[str]:
    """A name that nothing has when the test begins, and nothing keeps."""
    name: str = request.param
    yield name
    deployments.delete_deployment(name)


def shares(described: dict[str, Any]) -> dict[str, tuple[int, float, str]]:
    """Predictor → declared and effective percentage, version."""
    return {one["name"]: (one["traffic"], one["effective_traffic"], one["version"]) for one in described["predictors"]}


def test_created_deployment_is_available_and_described(
    platform: Platform, spots: dict[str, Any], deployments: Any
) -> None:
    assert (spots["name"], spots["namespace"], spots["state"], spots["flavor"]) == (
        NAME,
        "default",
        "Available",
        "darknet",
    )
    assert spots["url"] == f"http://{platform.gateway}/seldon/default/{NAME}"
    (stable,) = spots["predictors"]
    assert (stable["name"], stable["model_uri"], stable["version"]) == ("stable", "models:/shapes@champion", "1")
    assert re.fullmatch("sha256:[0-9a-f]{64}", stable["digest"])
    assert shares(spots) == {"stable": (100, 100.0, "1")}
    found = deployments.get_deployment(NAME)
    assert {**found, "flavor": "darknet"} == spots
    listed = {one["name"]: one for one in deployments.list_deployments()}
    assert listed[NAME] == found
    assert "yolo" in listed
    shown = json.loads(platform.kubectl("get", "sdep", NAME, "-o", "json", "--show-managed-fields"))
    entries = shown["metadata"]["managedFields"]
    assert [one["manager"] for one in entries if one["operation"] == "Apply"] == ["mlflow-deployments"]


def test_predict_takes_a_photo_in_every_form(spots: dict[str, Any], deployments: Any, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(photo(PHOTO))
    table = pd.DataFrame({"image": [photo(PHOTO)]})
    for inputs in (path, str(path), photo(PHOTO), [photo(PHOTO)], table, pd.DataFrame({"path": [str(path)]})):
        answer = deployments.predict(spots["name"], inputs)
        (row,) = answer["predictions"]
        assert_same_boxes(row["detections"], expected("1"))
        assert (row["predictor"], row["model"]["version"]) == ("stable", "1")
    assert list(answer.get_predictions().columns) == ["detections", "image", "model", "predictor"]
    assert deployments.predict(inputs=path, endpoint=f"default/{NAME}").keys() == {"predictions"}


class Load:
    """Asks without a pause in a thread; ``seen`` counts versions, ``lost`` errors."""

    def __init__(self, url: str) -> None:
        self.seen: Counter[str] = Counter()
        self.lost: list[ClientError] = []
        self._url, self._ended = url, threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def _ask(self) -> None:
        with Client(self._url, attempts=1) as client:
            while not self._ended.is_set():
                try:
                    found = client.detect(photo(PHOTO))
                    self.seen[found.model.version if found.model else ""] += 1
                except ClientError as error:
                    self.lost.append(error)

    def __enter__(self) -> Self:
        self._thread.start()
        wait_until(lambda: self.seen["1"], what="the first answer")
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(30)


def test_canary_split_and_promotion_lose_no_request(spots: dict[str, Any], deployments: Any) -> None:
    with Load(spots["url"]) as load:
        canary = deployments.update_deployment(NAME, "models:/shapes@challenger", config={"traffic": 10})
        assert shares(canary) == {"stable": (90, 90.0, "1"), "canary": (10, 10.0, "2")}
        assert shares(deployments.update_deployment(NAME, config={"traffic": 50})) == {
            "stable": (50, 50.0, "1"),
            "canary": (50, 50.0, "2"),
        }
        before = load.seen.copy()
        wait_until(lambda: min((load.seen - before)[version] for version in "12") > 5, what="both versions' answers")
        assert shares(deployments.update_deployment(NAME, config={"traffic": 0}))["stable"] == (100, 100.0, "1")
        promoted = deployments.update_deployment(NAME, config={"promote": True})
        assert shares(promoted) == {"stable": (100, 100.0, "2")}
        before = load.seen.copy()
        wait_until(lambda: sum((load.seen - before).values()) > 20, what="answers after the promotion")
        assert set(load.seen - before) == {"2"}
    assert load.lost == []
    assert len(deployments.predict(NAME, photo(PHOTO))["predictions"]) == 1


def test_canary_can_be_removed_again(platform: Platform, spots: dict[str, Any], deployments: Any) -> None:
    parked = {"traffic": 0, "wait": False}
    canary = deployments.update_deployment(NAME, "models:/shapes/1", config=parked)
    assert {one["name"]: one["traffic"] for one in canary["predictors"]} == {"stable": 100, "canary": 0}
    deployments.delete_deployment(NAME, config={"predictor": "canary"})
    (stable,) = platform.get("sdep", NAME)["spec"]["predictors"]
    assert (stable["name"], stable["traffic"]) == ("stable", 100)


@pytest.mark.parametrize("other", ["dots"], indirect=True)
def test_command_line_does_the_same(other: str, tmp_path: Path) -> None:
    def run(*words: str) -> str:
        return CliRunner().invoke(cli.commands, [*words, "-t", "slipway:/slipway"]).output

    (tmp_path / "photo.jpg").write_bytes(photo(PHOTO))
    (tmp_path / "photos.json").write_text(json.dumps([{"path": str(tmp_path / "photo.jpg")}]))
    created = run("create", "--name", other, "-m", "models:/shapes@challenger", "-C", "confidence=0.5")
    assert "\ndots: Available\n" in created
    assert "darknet deployment dots is created" in created
    answer = json.loads(run("predict", "--name", other, "-I", str(tmp_path / "photos.json")))
    wanted = [one for one in expected("2") if one["confidence"] > 0.5]
    assert_same_boxes(answer["predictions"][0]["detections"], wanted)
    assert "is updated (with flavor darknet)" in run("update", "--name", other, "-C", "replicas=1", "-C", "wait=false")
    assert "state: " in run("get", "--name", other)
    assert "'name': 'dots'" in run("list")
    assert "promote" in run("help")
    twice = run("create", "--name", other, "-m", "models:/shapes@champion")
    assert twice.startswith("Error: dots: there is one in namespace default already")
    assert "Deployment dots is deleted" in run("delete", "--name", other)
    assert "'name': 'dots'" not in run("list")


def test_mlflows_own_program_finds_the_target(platform: Platform, variables: dict[str, str]) -> None:
    refused = platform.run(*MLFLOW, "get", "--name", "nobody", "-t", "slipway", check=False, **variables)
    assert refused.splitlines()[-1].startswith("Error: nobody: ")
    assert refused.endswith('"nobody" not found (RESOURCE_DOES_NOT_EXIST)\n')
    assert "Traceback" not in refused


@pytest.mark.parametrize("other", ["follower"], indirect=True)
def test_follow_writes_the_annotation(platform: Platform, deployments: Any, other: str) -> None:
    config = {"follow": True, "wait": False, "namespace": "default"}
    made = deployments.create_deployment(other, "models:/shapes@champion", config=config)
    assert made["state"] in ("Creating", "Available")
    (stable,) = platform.get("sdep", other)["spec"]["predictors"]
    assert stable["annotations"] == {"slipway.dev/follow-alias": "true"}


@pytest.mark.parametrize(
    ("name", "uri", "config", "code", "said"),
    [
        ("new", "models:/nobody@champion", {}, "RESOURCE_DOES_NOT_EXIST", "nobody"),
        ("new", "models:/shapes@nobody", {}, "RESOURCE_DOES_NOT_EXIST", "nobody"),
        ("new", "models:/shapes", {}, "INVALID_PARAMETER_VALUE", "models:/NAME@ALIAS"),
        ("new", "runs:/1/model", {}, "INVALID_PARAMETER_VALUE", "not registered"),
        ("new", "s3://bucket/folder", {}, "INVALID_PARAMETER_VALUE", "-C input=WIDTHxHEIGHT"),
        ("new", "models:/shapes/1", {"namespace": "nowhere"}, "RESOURCE_DOES_NOT_EXIST", "nowhere"),
        ("new", "models:/shapes/1", {"traffic": 10}, "INVALID_PARAMETER_VALUE", "belongs to update"),
        ("New!", "models:/shapes/1", {}, "INVALID_PARAMETER_VALUE", "metadata.name"),
        ("yolo", "models:/shapes/1", {}, "RESOURCE_ALREADY_EXISTS", "mlflow deployments update"),
    ],
)
def test_create_refuses_with_code_and_sentence(
    deployments: Any, name: str, uri: str, config: dict[str, Any], code: str, said: str
) -> None:
    with pytest.raises(MlflowException, match=re.escape(said)) as refused:
        deployments.create_deployment(name, uri, config=config)
    assert refused.value.error_code == code
    assert "new" not in {one["name"] for one in deployments.list_deployments()}


def test_update_refuses_what_is_not_there_and_what_others_own(deployments: Any) -> None:
    with pytest.raises(MlflowException, match='"nobody" not found') as missing:
        deployments.update_deployment("nobody", config={"traffic": 10})
    assert missing.value.error_code == "RESOURCE_DOES_NOT_EXIST"
    with pytest.raises(MlflowException, match='conflict with "slipway".*force=true') as owned:
        deployments.update_deployment("yolo", config={"traffic": 20})
    assert owned.value.error_code == "RESOURCE_CONFLICT"
    with pytest.raises(MlflowException, match="goes alone"):
        deployments.update_deployment("yolo", config={"promote": True, "traffic": 20})
    with pytest.raises(MlflowException, match="flavor 'sklearn'"):
        deployments.update_deployment("yolo", "models:/shapes/1", flavor="sklearn")
    with pytest.raises(MlflowException, match='"nobody" not found'):
        deployments.get_deployment("nobody")
    deployments.delete_deployment("nobody")


@pytest.mark.parametrize("other", ["unbuilt"], indirect=True)
def test_image_that_was_never_built_is_the_reason_told(deployments: Any, other: str) -> None:
    deployments.create_deployment(other, "models:/shapes/1", config={"tag": "9.9.9", "wait": False})

    def reason() -> str:
        (stable,) = deployments.get_deployment(other)["predictors"]
        return str(stable.get("reason", ""))

    wait_until(lambda: "image build" in reason(), timeout_s=30, what="the command that builds it")
    with pytest.raises(
        MlflowException, match="stable (ErrImagePull|ImagePullBackOff).*not Available after 1 s"
    ) as late:
        deployments.update_deployment(other, config={"replicas": 1, "timeout_s": 1})
    assert late.value.error_code == "DEADLINE_EXCEEDED"


def test_predict_tells_what_the_deployment_says(deployments: Any) -> None:
    with pytest.raises(MlflowException, match="yolo: .*UNSUPPORTED_MEDIA_TYPE") as refused:
        deployments.predict("yolo", b"hello")
    assert refused.value.error_code == "INVALID_PARAMETER_VALUE"
    with pytest.raises(MlflowException, match="ROUTE_NOT_FOUND"):
        deployments.predict("nobody", photo(PHOTO))
    with pytest.raises(MlflowException, match="say which deployment"):
        deployments.predict(inputs=photo(PHOTO))


def test_running_locally_leads_to_this_machine_as_a_target(deployments: Any) -> None:
    with pytest.raises(MlflowException, match="`slipway up` makes this machine a target, then: .* -m models:/shapes/1"):
        run_local("slipway", "new", "models:/shapes/1")
    assert "new" not in {one["name"] for one in deployments.list_deployments()}


def test_other_context_is_looked_up(variables: dict[str, str]) -> None:
    with pytest.raises(MlflowException, match="no entry named 'elsewhere'; there are: slipway"):
        get_deploy_client("slipway:/elsewhere").list_deployments()


@pytest.mark.parametrize("other", ["diary"], indirect=True)
def test_first_lines_of_the_document_work(
    platform: Platform, variables: dict[str, str], other: str, tmp_path: Path
) -> None:
    document = (REPOSITORY / "docs" / "client.md").read_text()
    lines = document.partition("```python\n")[2].partition("```")[0]
    lines = lines.replace("mine", other).replace("127.0.0.1:8080", platform.gateway)
    (tmp_path / "photo.jpg").write_bytes(photo(PHOTO))
    (tmp_path / "lines.py").write_text(f"{lines}\nprint(found[0].label, found.draw('photo.jpg').pixels.shape)\n")
    command = f"cd {tmp_path} && {sys.executable} lines.py"
    printed = platform.run("bash", "-c", command, **variables, PYTHONPATH=str(REPOSITORY)).splitlines()
    assert f"{other}: Available" in printed
    assert re.fullmatch(r"[\w, ]+ \(shapes/[12], (stable|canary), \d+ ms\)", printed[-2])
    assert printed[-1] in {f"{expected(version)[0]['label']} (384, 512, 3)" for version in "12"}
