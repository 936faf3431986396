"""A training as a Job: its Pod is killed again and again, another one goes on, and one proved version comes out."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import mlflow
import pytest
import yaml
from botocore.exceptions import ClientError

from model_wrappers.darknet.training.places import open_place
from slipway.onebox.services.credentials import load_model_credentials
from tests.e2e import s3
from tests.e2e.platform import Platform
from tests.waiting import wait_until

IMAGE = "slipway/yolo-trainer:0.1.0"
NAMESPACE = "training-job"
JOB = "train-shapes"
MODEL = "shapes-of-a-job"
BUCKET, PREFIX, ALONE = "training", "e2e/shapes", "e2e/alone"
EPOCHS = 40
KILLS = 3
AHEAD = 8  # checkpoints, and so steps, between two kills: of three steps is an epoch
WITHIN_S = 300.0
QUICK = {
    "--to": f"s3://{BUCKET}/{PREFIX}",
    "--photos": "48",
    "--validate": "8",
    "--epochs": str(EPOCHS),
    "--validate-every": "10",
    "--threads": "1",
    "--checkpoint-every": "0",
    "--register": MODEL,
}


def manifest(platform: Platform, name: str = JOB, **changed: str) -> dict[str, Any]:
    """The one in the repository, with a smaller training. An option that is changed to nothing is left out."""
    (job,) = yaml.safe_load_all(platform.kubectl("kustomize", "training"))
    (container,) = job["spec"]["template"]["spec"]["containers"]
    given = dict(word.split("=", 1) for word in container["args"])
    said = {**given, **QUICK, **{f"--{flag}": value for flag, value in changed.items()}}
    container["args"] = [f"{flag}={value}" for flag, value in said.items() if value]
    job["metadata"] = {"name": name, "namespace": NAMESPACE}
    del container["resources"]["requests"]
    return dict(job)


@pytest.fixture(scope="module")
def keys(platform: Platform) -> Mapping[str, str]:
    return load_model_credentials(platform.paths)


@pytest.fixture(scope="module")
def tracking(keys: Mapping[str, str]) -> Iterator[mlflow.MlflowClient]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in keys.items():
            patch.setenv(name, value)
        yield mlflow.MlflowClient(keys["MLFLOW_TRACKING_URI"])


@pytest.fixture(scope="module")
def logs(platform: Platform, keys: Mapping[str, str]) -> list[str]:
    """Of the Pods that were killed, each some checkpoints further, and of the last one, once the Job is complete."""
    platform.slipway("image", "build", IMAGE)
    platform.kubectl("create", "namespace", NAMESPACE)
    secret = ("create", "secret", "generic", "slipway-training", f"--from-env-file={platform.paths.mlflow_env}")
    platform.kubectl(*secret, "-n", NAMESPACE)
    platform.apply(manifest(platform))
    said: list[str] = []
    killed: set[str] = set()
    for _ in range(KILLS):
        _wait_for_checkpoints(keys)
        name = _pod(platform, killed)
        said.append(platform.kubectl("logs", name, "-n", NAMESPACE))
        platform.kubectl("delete", "pod", name, "-n", NAMESPACE, "--force", "--grace-period=0")
        killed.add(name)
    wait_until(lambda: _is_complete(platform), timeout_s=WITHIN_S, what=f"{JOB} complete")
    return [*said, platform.kubectl("logs", _pod(platform, killed), "-n", NAMESPACE)]


def _pod(platform: Platform, killed: set[str]) -> str:
    """The one Pod of the Job that was not killed."""
    names = {str(pod["metadata"]["name"]) for pod in platform.pods(NAMESPACE, f"job-name={JOB}")}
    (name,) = names - killed
    return name


def _wait_for_checkpoints(keys: Mapping[str, str]) -> None:
    """Until there were ``AHEAD`` more: one is written after every step."""
    seen = {_checkpoint(keys)}

    def enough() -> bool:
        seen.add(_checkpoint(keys))
        return len(seen - {None}) > AHEAD

    wait_until(enough, timeout_s=WITHIN_S, what="checkpoints in S3")


def _checkpoint(keys: Mapping[str, str]) -> str | None:
    """Its ETag."""
    client = s3.client(keys)
    try:
        return str(client.head_object(Bucket=BUCKET, Key=f"{PREFIX}/checkpoint.pt")["ETag"])
    except ClientError as exc:
        assert exc.response["ResponseMetadata"]["HTTPStatusCode"] == 404
        return None
    finally:
        client.close()


def _is_complete(platform: Platform, job: str = JOB) -> bool:
    status = platform.get("job", job, NAMESPACE).get("status") or {}
    conditions = {one["type"]: one for one in status.get("conditions") or ()}
    assert "Failed" not in conditions, json.dumps(status)
    return "Complete" in conditions


def test_each_pod_goes_on_where_the_one_before_was_killed(logs: list[str]) -> None:
    first, *others = logs
    assert "going on from" not in first
    behind = 0
    for said in others:
        (went_on,) = re.findall(rf"going on from s3://{BUCKET}/{PREFIX}: (\d+) steps are done", said)
        assert int(went_on) > behind
        behind = int(went_on)
        assert "epoch 1/" not in said
    for said in logs[:-1]:
        assert f"epoch {EPOCHS}/{EPOCHS}" not in said
    assert f"epoch {EPOCHS}/{EPOCHS}" in logs[-1]
    assert f"registered models:/{MODEL}/1, alias challenger" in logs[-1]


def test_weights_are_those_of_a_training_that_nobody_killed(
    logs: list[str], platform: Platform, keys: Mapping[str, str]
) -> None:
    alone = manifest(platform, "alone", to=f"s3://{BUCKET}/{ALONE}", experiment="", register="", alias="")
    platform.apply(alone)
    wait_until(lambda: _is_complete(platform, "alone"), timeout_s=WITHIN_S, what="the Job that nobody killed")
    client = s3.client(keys)
    try:
        weights = [
            client.get_object(Bucket=BUCKET, Key=f"{prefix}/shapes.weights")["Body"].read()
            for prefix in (PREFIX, ALONE)
        ]
    finally:
        client.close()
    assert weights[0] == weights[1]


def test_one_proved_version_comes_of_one_run(logs: list[str], tracking: mlflow.MlflowClient) -> None:
    (version,) = tracking.search_model_versions(f"name = '{MODEL}'")
    record = json.loads(tracking.get_registered_model(MODEL).tags["slipway.alias.challenger"])
    assert (record["version"], record["why"].partition(",")[0]) == ("1", f"trained in run {version.run_id}")
    aliased = tracking.get_model_version_by_alias(MODEL, "challenger")
    assert aliased.version == version.version
    assert version.tags["slipway.digest"].startswith("sha256:")
    assert version.tags["licence"] == "Apache-2.0"
    assert "layers, worst" in version.tags["proof.parity"]
    run = tracking.get_run(str(version.run_id))
    assert run.info.status == "FINISHED"
    assert run.data.params["epochs"] == str(EPOCHS)
    assert [one.step for one in tracking.get_metric_history(run.info.run_id, "loss")] == list(range(1, EPOCHS + 1))
    assert [one.step for one in tracking.get_metric_history(run.info.run_id, "map50")] == [10, 20, 30, 40]


def test_the_result_lies_beside_the_checkpoint_and_is_what_was_registered(
    logs: list[str], platform: Platform, keys: Mapping[str, str], tracking: mlflow.MlflowClient, tmp_path: Path
) -> None:
    client = s3.client(keys)
    try:
        listed = client.list_objects_v2(Bucket=BUCKET, Prefix=f"{PREFIX}/")["Contents"]
        weights = client.get_object(Bucket=BUCKET, Key=f"{PREFIX}/shapes.weights")["Body"].read()
    finally:
        client.close()
    found = {item["Key"].removeprefix(f"{PREFIX}/") for item in listed}
    assert found == {"checkpoint.pt", "metrics.csv", "shapes.cfg", "shapes.names", "shapes.weights"}
    (version,) = tracking.search_model_versions(f"name = '{MODEL}'")
    source = tracking.get_model_version_download_uri(MODEL, str(version.version))
    pulled = mlflow.artifacts.download_artifacts(f"{source}/data/shapes.weights", dst_path=str(tmp_path))
    assert Path(pulled).read_bytes() == weights
    assert MODEL in platform.slipway("model", "list")


def test_upload_that_breaks_off_leaves_the_checkpoint_before(
    logs: list[str], keys: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a process that is killed while it writes: the server got half of what it was promised."""
    for name, value in keys.items():
        monkeypatch.setenv(name, value)
    place = open_place(f"s3://{BUCKET}/{PREFIX}")
    before = place.read("checkpoint.pt")
    assert before is not None
    client = s3.client(keys)
    try:
        url = client.generate_presigned_url("put_object", {"Bucket": BUCKET, "Key": f"{PREFIX}/checkpoint.pt"})
    finally:
        client.close()
    target = urlsplit(url)
    with socket.create_connection((str(target.hostname), int(target.port or 80)), timeout=10) as half:
        head = f"PUT {target.path}?{target.query} HTTP/1.1\r\nHost: {target.netloc}\r\nContent-Length: {len(before)}\r\n\r\n"
        half.sendall(head.encode() + bytes(len(before) // 2))
    assert place.read("checkpoint.pt") == before
    other = open_place(f"s3://{BUCKET}/e2e/other")
    other.write("one", b"1")  # the server has not stopped at it
    assert other.read("one") == b"1"
    assert place.read("checkpoint.pt") == before


def test_starting_the_job_again_registers_nothing_new(
    logs: list[str], platform: Platform, tracking: mlflow.MlflowClient
) -> None:
    platform.kubectl("delete", "job", JOB, "-n", NAMESPACE)
    platform.apply(manifest(platform))
    wait_until(lambda: _is_complete(platform), timeout_s=WITHIN_S, what=f"{JOB} complete again")
    (pod,) = (one for one in platform.pods(NAMESPACE, f"job-name={JOB}") if one["status"]["phase"] == "Succeeded")
    assert f"registered models:/{MODEL}/1" in platform.kubectl("logs", pod["metadata"]["name"], "-n", NAMESPACE)
    assert len(tracking.search_model_versions(f"name = '{MODEL}'")) == 1
