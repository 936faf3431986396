"""Every public function of the MLflow flavour against the real MLflow, PostgreSQL and S3; MLflow's own server and command."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import cv2
import mlflow
import numpy as np
import pandas as pd
import pytest
import yaml
from mlflow.exceptions import MlflowException

from model_wrappers import mlflow_darknet
from model_wrappers.darknet import Detection, Detector, WeightsError
from model_wrappers.darknet.errors import ModelFolderError
from model_wrappers.darknet.proof import prove
from model_wrappers.mlflow_darknet import registration
from model_wrappers.model_sums import DOWNLOAD_NOTE, SUMS_NAME, SumsError, digest_of_sums, sums_of_folder
from slipway.registry import RegistryAddress, present_user, read_aliases, resolve
from slipway.storage.cache import ModelCache
from slipway.storage.fetch import Wanted, fetch
from tests.darknet.networks import CELL, write_handmade_model
from tests.e2e.platform import Platform
from tests.e2e.s3 import client as s3_client
from tests.ports import free_ports
from tests.waiting import wait_until

NAME = "flavour"
SERVE_TIMEOUT_S = 120
SCRIPTS = Path(sys.executable).parent


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_handmade_model(tmp_path_factory.mktemp("flavour"))
    pixels = np.zeros((2 * CELL, 2 * CELL, 3), np.uint8)
    pixels[:CELL, :CELL, 2] = 255  # OpenCV writes blue, green, red
    cv2.imwrite(str(folder / "red.png"), pixels)
    return folder


def files_of(folder: Path) -> dict[str, Path]:
    return {kind: folder / f"cells.{kind}" for kind in ("cfg", "weights", "names")}


@pytest.fixture(scope="module")
def photo(sources: Path) -> bytes:
    return (sources / "red.png").read_bytes()


@pytest.fixture(scope="module")
def rgb(sources: Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return cv2.imread(str(sources / "red.png"))[..., ::-1].astype(np.uint8)


@pytest.fixture(scope="module")
def wanted(sources: Path, rgb: np.ndarray[Any, np.dtype[np.uint8]]) -> list[Detection]:
    found = Detector(sources, engine="onnxruntime").detect(rgb)
    assert [one.label for one in found] == ["red"]
    return found


@pytest.fixture(scope="module")
def version(variables: dict[str, str], sources: Path) -> Any:
    """The registered version, logged in a run, with two aliases."""
    with mlflow.start_run(run_name="training") as run:
        info = mlflow_darknet.log_model(
            **files_of(sources),
            registered_model_name=NAME,
            aliases=["challenger", "candidate"],
            tags={"team": "cells"},
            licence="MIT",
            photos=[sources / "red.png"],
        )
    assert info.run_id == run.info.run_id
    return mlflow.MlflowClient().get_model_version(NAME, str(info.registered_model_version))


def logged_model(version: Any) -> str:
    """The id that the version's source names."""
    return str(version.source.removeprefix("models:/"))


class StoredModel:
    """The version's folder in S3."""

    def __init__(self, version: Any, keys: dict[str, str]) -> None:
        location = urlsplit(mlflow.MlflowClient().get_logged_model(logged_model(version)).artifact_location)
        self.bucket, self.prefix = location.netloc, location.path.strip("/")
        self.s3 = s3_client(keys)

    def get(self, name: str) -> bytes:
        body: bytes = self.s3.get_object(Bucket=self.bucket, Key=f"{self.prefix}/{name}")["Body"].read()
        return body

    def put(self, name: str, body: bytes) -> None:
        self.s3.put_object(Bucket=self.bucket, Key=f"{self.prefix}/{name}", Body=body)

    def delete(self, name: str) -> None:
        self.s3.delete_object(Bucket=self.bucket, Key=f"{self.prefix}/{name}")


@pytest.fixture
def stored(version: Any, variables: dict[str, str]) -> Iterator[StoredModel]:
    """Whatever a test changes of these files is put back."""
    model = StoredModel(version, variables)
    before = {name: model.get(name) for name in (SUMS_NAME, "data/cells.names")}
    yield model
    for name, body in before.items():
        model.put(name, body)
    model.s3.close()


def test_version_is_tagged_described_and_pointed_to(version: Any, stored: StoredModel) -> None:
    sums = stored.get(SUMS_NAME)
    tags = version.tags
    assert tags[mlflow_darknet.DIGEST_TAG] == digest_of_sums(sums)
    assert f"{tags['sha256.weights']}  data/cells.weights\n".encode() in sums
    assert (tags["team"], tags["licence"], tags["proof.report"]) == ("cells", "MIT", "proof/report.html")
    assert sorted(version.aliases) == ["candidate", "challenger"]
    assert version.description.startswith("**Proved**: 2 layers on red.png")
    assert f"/models/{logged_model(version)}/artifacts)" in version.description


async def test_controllers_resolver_finds_the_same_digest(version: Any, variables: dict[str, str]) -> None:
    address = RegistryAddress.from_env(variables)
    assert address is not None
    async with aiohttp.ClientSession() as session:
        found = await resolve(f"models:/{NAME}@challenger", registry=address, session=session)
    assert (found.version, found.digest) == (str(version.version), version.tags[mlflow_darknet.DIGEST_TAG])


def test_download_is_what_was_registered(
    version: Any, wanted: list[Detection], rgb: np.ndarray[Any, np.dtype[np.uint8]], tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    detector = mlflow_darknet.load_model(f"models:/{NAME}@challenger", dst_path=kept)
    assert_same([one.to_json() for one in detector.detect(rgb)], wanted)
    (folder,) = {path.parent for path in kept.rglob("MLmodel")}
    assert (folder / DOWNLOAD_NOTE).is_file()
    wanted_folder = Wanted(version.source, folder.as_uri(), version.tags[mlflow_darknet.DIGEST_TAG])
    fetched = fetch(wanted_folder, ModelCache(tmp_path / "cache"), progress=lambda done, total: None)
    assert not (fetched.folder / DOWNLOAD_NOTE).exists()
    (folder / DOWNLOAD_NOTE).unlink()
    assert (folder / SUMS_NAME).read_text() == sums_of_folder(folder)


def test_changed_and_unlisted_objects_are_refused(version: Any, stored: StoredModel) -> None:
    uri = f"models:/{NAME}/{version.version}"
    stored.put("data/late.py", b"import os")
    with pytest.raises(SumsError, match=r"data/late\.py: is there but is not listed"):
        mlflow_darknet.load_model(uri)
    stored.delete("data/late.py")
    stored.put("data/cells.names", b"green\nred\n")
    with pytest.raises(SumsError, match=r"data/cells\.names: expected sha256:[0-9a-f]{64}, found"):
        mlflow_darknet.load_model(uri)
    with pytest.raises(SumsError, match=r"data/cells\.names"):
        mlflow.pyfunc.load_model(uri)


def test_folder_that_agrees_with_itself_but_not_with_the_registry_is_refused(version: Any, stored: StoredModel) -> None:
    old, new = b"red\ngreen\n", b"green\nred\n"
    assert stored.get("data/cells.names") == old
    stored.put("data/cells.names", new)
    digests = [digest_of_sums(text).removeprefix("sha256:").encode() for text in (old, new)]
    stored.put(SUMS_NAME, stored.get(SUMS_NAME).replace(*digests))
    with pytest.raises(SumsError, match=rf"models:/{NAME}/{version.version} was registered as sha256:"):
        mlflow_darknet.load_model(f"models:/{NAME}@challenger")


def test_alias_moves_and_tells_from_where(version: Any, variables: dict[str, str]) -> None:
    number = str(version.version)
    assert mlflow_darknet.set_alias(NAME, "champion", number) is None
    assert mlflow_darknet.set_alias(NAME, "champion", number) == number
    with pytest.raises(MlflowException, match="not found"):
        mlflow_darknet.set_alias(NAME, "champion", "99")
    with pytest.raises(MlflowException, match="not found"):
        mlflow_darknet.set_alias("nobody", "champion", "1")
    with pytest.raises(MlflowException, match="reserved"):
        mlflow_darknet.set_alias(NAME, "latest", number)


async def test_alias_has_a_record_of_who_and_why(version: Any, variables: dict[str, str]) -> None:
    address = RegistryAddress.from_env(variables)
    assert address is not None
    mlflow_darknet.set_alias(NAME, "reviewed", str(version.version), who="ann", why="sees cells")
    async with aiohttp.ClientSession() as session:
        found = await read_aliases(NAME, registry=address, session=session)
    assert (found["reviewed"].who, found["reviewed"].why) == ("ann", "sees cells")
    assert (found["challenger"].who, found["challenger"].why) == (present_user(), "registered")  # of log_model


def test_saved_folder_is_registered_by_mlflows_own_function(
    variables: dict[str, str], sources: Path, rgb: np.ndarray[Any, np.dtype[np.uint8]], tmp_path: Path
) -> None:
    """``save_model``, the files into a run, ``mlflow.register_model``, and then what ``log_model`` would have added."""
    proof = prove(**files_of(sources), licence="MIT")
    mlflow_darknet.save_model(tmp_path / "model", **files_of(sources), proof=proof)
    with mlflow.start_run() as run:
        mlflow.log_artifacts(str(tmp_path / "model"), "model")
    uri = f"runs:/{run.info.run_id}/model"
    assert [one.label for one in mlflow_darknet.load_model(uri).detect(rgb)] == ["red"]
    made = mlflow.register_model(uri, "by-mlflow")
    digest = mlflow_darknet.tag_version("by-mlflow", str(made.version), mlflow_darknet.proof_tags(proof))
    assert digest == digest_of_sums((tmp_path / "model" / SUMS_NAME).read_bytes())
    tags = mlflow.MlflowClient().get_model_version("by-mlflow", str(made.version)).tags
    assert (tags["licence"], tags["slipway.digest"]) == ("MIT", digest)
    assert [one.label for one in mlflow_darknet.load_model("models:/by-mlflow/1").detect(rgb)] == ["red"]


def test_stored_model_says_its_signature_and_its_environment(version: Any, stored: StoredModel) -> None:
    info = mlflow.models.get_model_info(f"models:/{NAME}/{version.version}")
    assert info.signature == mlflow_darknet.signature()
    lines = stored.get("requirements.txt").decode().splitlines()
    assert lines[1:] == mlflow_darknet.get_default_pip_requirements()
    assert yaml.safe_load(stored.get("conda.yaml")) == mlflow_darknet.get_default_conda_env()


def test_file_that_would_lie_on_another_is_refused_before_anything_is_logged(
    variables: dict[str, str], sources: Path, tmp_path: Path
) -> None:
    names = tmp_path / "cells.cfg"
    names.write_bytes((sources / "cells.names").read_bytes())
    with pytest.raises(ModelFolderError, match=r"cells\.cfg: would be data/cells\.cfg of the model"):
        mlflow_darknet.check_file_names(mlflow_darknet.SourceFiles(**{**files_of(sources), "names": names}))
    with pytest.raises(ModelFolderError, match=r"cells\.cfg: would be data/cells\.cfg of the model"):
        mlflow_darknet.log_model(**{**files_of(sources), "names": names}, registered_model_name="collides")
    assert mlflow.MlflowClient().search_registered_models("name = 'collides'") == []


def test_version_can_be_tagged_again(version: Any, variables: dict[str, str]) -> None:
    digest = mlflow_darknet.tag_version(NAME, str(version.version), {"reviewed": "yes", "empty": ""})
    tags = mlflow.MlflowClient().get_model_version(NAME, str(version.version)).tags
    assert digest == tags[mlflow_darknet.DIGEST_TAG] == version.tags[mlflow_darknet.DIGEST_TAG]
    assert tags["reviewed"] == "yes"
    assert "empty" not in tags


def test_bad_pair_leaves_nothing_in_mlflow(variables: dict[str, str], sources: Path, tmp_path: Path) -> None:
    weights = tmp_path / "cells.weights"
    weights.write_bytes((sources / "cells.weights").read_bytes()[:-4])
    client = mlflow.MlflowClient()
    before = len(client.search_logged_models(experiment_ids=["0"])), len(client.search_registered_models())
    with pytest.raises(WeightsError, match="expected 86064 bytes, found 86060"):
        mlflow_darknet.log_model(**{**files_of(sources), "weights": weights}, registered_model_name="bad")
    assert (len(client.search_logged_models(experiment_ids=["0"])), len(client.search_registered_models())) == before


@pytest.mark.parametrize("broken", ["tag_version", "_describe"])
def test_version_whose_registration_breaks_is_taken_back(
    variables: dict[str, str], sources: Path, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ConnectionError("S3 is away")

    name, client = f"broken-{broken.strip('_')}", mlflow.MlflowClient()
    with monkeypatch.context() as patch:
        patch.setattr(registration, broken, fail)
        with pytest.raises(ConnectionError, match="S3 is away"):
            mlflow_darknet.log_model(**files_of(sources), registered_model_name=name, aliases=["champion"])
    assert list(client.search_model_versions(f"name='{name}'")) == []
    assert dict(client.get_registered_model(name).aliases) == {}


def test_command_line_refuses_a_bad_photo_registers_and_shows(platform: Platform, sources: Path) -> None:
    flags = [word for kind, path in files_of(sources).items() for word in (f"--{kind}", str(path))]
    register = ("model", "register", "by-hand", *flags, "--alias", "champion", "--json", "--photo")
    refused = platform.slipway(*register, str(sources / "cells.cfg"), check=False)
    assert f"Error: {sources / 'cells.cfg'}: The " in refused
    registered = json.loads(platform.slipway(*register, str(sources / "red.png")).splitlines()[-1])
    assert registered["version"] == "1"  # the one that was refused made none
    (shown,) = json.loads(platform.slipway("model", "show", "by-hand", "--json"))
    assert (shown["aliases"], shown["tags"][mlflow_darknet.DIGEST_TAG]) == (["champion"], registered["digest"])


def test_pyfunc_of_the_registry_answers_as_the_detector(version: Any, photo: bytes, wanted: list[Detection]) -> None:
    model = mlflow.pyfunc.load_model(f"models:/{NAME}@challenger")
    (found,) = model.predict(pd.DataFrame({"image": [photo]}))["detections"]
    assert_same(found, wanted)


def assert_same(found: list[dict[str, Any]], wanted: list[Detection]) -> None:
    """The version may have chosen another engine than ``wanted``'s."""
    assert [one["label"] for one in found] == [one.label for one in wanted]
    for one, other in zip(found, (each.to_json() for each in wanted), strict=True):
        assert one["confidence"] == pytest.approx(other["confidence"], abs=1e-3)
        assert one["box"] == pytest.approx(other["box"], abs=0.1)


def question(photo: bytes, **params: float) -> bytes:
    """A body of /invocations with one photo."""
    table = {"columns": ["image"], "data": [[base64.b64encode(photo).decode()]]}
    return json.dumps({"dataframe_split": table, **({"params": params} if params else {})}).encode()


def environment(platform: Platform, variables: dict[str, str]) -> dict[str, str]:
    """MLflow starts its server by name."""
    return {**platform.environment, **variables, "PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}"}


def test_mlflow_models_predict_answers_a_file(
    platform: Platform, version: Any, variables: dict[str, str], photo: bytes, wanted: list[Detection], tmp_path: Path
) -> None:
    (tmp_path / "in.json").write_bytes(question(photo))
    uri = f"models:/{NAME}/{version.version}"
    words = ["models", "predict", "-m", uri, "-i", "in.json", "-o", "out.json", "--env-manager", "local"]
    done = subprocess.run(
        [str(SCRIPTS / "mlflow"), *words],
        cwd=tmp_path,
        env=environment(platform, variables),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (row,) = json.loads((tmp_path / "out.json").read_text())["predictions"]
    assert_same(row["detections"], wanted)


@pytest.fixture
def server(platform: Platform, version: Any, variables: dict[str, str], tmp_path: Path) -> Iterator[str]:
    """Address of ``mlflow models serve``."""
    port, uri = free_ports(1)[0], f"models:/{NAME}/{version.version}"
    words = ["models", "serve", "-m", uri, "--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]
    log = tmp_path / "serve.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [str(SCRIPTS / "mlflow"), *words],
            cwd=tmp_path,
            env=environment(platform, variables),
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:

        def answers() -> bool:
            assert process.poll() is None, log.read_text()
            try:
                return ask(f"http://127.0.0.1:{port}/ping", None)[0] == 200
            except OSError:
                return False

        wait_until(answers, timeout_s=SERVE_TIMEOUT_S, what="mlflow models serve")
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=10)


def ask(url: str, body: bytes | None) -> tuple[int, bytes]:
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.read()


def test_mlflow_models_serve_answers_invocations(server: str, photo: bytes, wanted: list[Detection]) -> None:
    status, body = ask(f"{server}/invocations", question(photo))
    assert status == 200, body
    (row,) = json.loads(body)["predictions"]
    assert_same(row["detections"], wanted)
    status, body = ask(f"{server}/invocations", question(photo, confidence=1.0))
    assert (status, json.loads(body)["predictions"]) == (200, [{"detections": []}])
    status, body = ask(f"{server}/invocations", question(b"hello"))
    assert status == 400, body
    assert "image, row 0: The 5 bytes are no JPEG" in json.loads(body)["message"]
    status, body = ask(f"{server}/invocations", question(photo, confidence=2.0))
    assert status == 400, body
    assert "params.confidence=2.0: a number from 0 to 1" in json.loads(body)["message"]
