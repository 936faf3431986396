"""A training as a Job: its Pod is killed half-way, another one goes on, and one proved version comes out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import mlflow
import pytest
import yaml
from botocore.exceptions import ClientError

from slipway.onebox.services.credentials import load_model_credentials
from tests.e2e import s3
from tests.e2e.platform import Platform
from tests.waiting import wait_until

IMAGE = "slipway/yolo-trainer:0.1.0"
NAMESPACE = "training-job"
JOB = "train-shapes"
MODEL = "shapes-of-a-job"
BUCKET, PREFIX = "training", "e2e/shapes"
EPOCHS = 20
WITHIN_S = 300.0
QUICK = {
    "--to": f"s3://{BUCKET}/{PREFIX}",
    "--photos": "48",
    "--validate": "8",
    "--epochs": str(EPOCHS),
    "--validate-every": "10",
    "--threads": "1",
    "--checkpoint-every": "0.5",
    "--register": MODEL,
}


def manifest(platform: Platform) -> dict[str, Any]:
    """The one in the repository, with a smaller training."""
    (job,) = yaml.safe_load_all(platform.kubectl("kustomize", "training"))
    (container,) = job["spec"]["template"]["spec"]["containers"]
    given = dict(word.split("=", 1) for word in container["args"])
    container["args"] = [f"{flag}={value}" for flag, value in {**given, **QUICK}.items()]
    job["metadata"]["namespace"] = NAMESPACE
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
    """Of the Pod that was killed with a checkpoint behind it, and of the one that came after it, once the Job is complete."""
    platform.slipway("image", "build", IMAGE)
    platform.kubectl("create", "namespace", NAMESPACE)
    secret = ("create", "secret", "generic", "slipway-training", f"--from-env-file={platform.paths.mlflow_env}")
    platform.kubectl(*secret, "-n", NAMESPACE)
    platform.apply(manifest(platform))
    wait_until(lambda: _has_checkpoint(keys), timeout_s=WITHIN_S, what="a checkpoint in S3")
    (first,) = platform.pods(NAMESPACE, f"job-name={JOB}")
    name = first["metadata"]["name"]
    said = platform.kubectl("logs", name, "-n", NAMESPACE)
    platform.kubectl("delete", "pod", name, "-n", NAMESPACE, "--force", "--grace-period=0")
    wait_until(lambda: _is_complete(platform), timeout_s=WITHIN_S, what=f"{JOB} complete")
    (second,) = (pod for pod in platform.pods(NAMESPACE, f"job-name={JOB}") if pod["metadata"]["name"] != name)
    return [said, platform.kubectl("logs", second["metadata"]["name"], "-n", NAMESPACE)]


def _has_checkpoint(keys: Mapping[str, str]) -> bool:
    client = s3.client(keys)
    try:
        client.head_object(Bucket=BUCKET, Key=f"{PREFIX}/checkpoint.pt")
    except ClientError as exc:
        assert exc.response["ResponseMetadata"]["HTTPStatusCode"] == 404
        return False
    finally:
        client.close()
    return True


def _is_complete(platform: Platform) -> bool:
    status = platform.get("job", JOB, NAMESPACE).get("status") or {}
    conditions = {one["type"]: one for one in status.get("conditions") or ()}
    assert "Failed" not in conditions, json.dumps(status)
    return "Complete" in conditions


def test_the_second_pod_goes_on_where_the_first_was_killed(logs: list[str]) -> None:
    killed, resumed = logs
    assert "going on from" not in killed
    assert f"epoch {EPOCHS}/{EPOCHS}" not in killed
    assert f"going on from s3://{BUCKET}/{PREFIX}: " in resumed
    assert "epoch 1/" not in resumed
    assert f"epoch {EPOCHS}/{EPOCHS}" in resumed
    assert f"registered models:/{MODEL}/1, alias challenger" in resumed


def test_one_proved_version_comes_of_one_run(logs: list[str], tracking: mlflow.MlflowClient) -> None:
    (version,) = tracking.search_model_versions(f"name = '{MODEL}'")
    aliased = tracking.get_model_version_by_alias(MODEL, "challenger")
    assert aliased.version == version.version
    assert version.tags["slipway.digest"].startswith("sha256:")
    assert version.tags["licence"] == "Apache-2.0"
    assert "layers, worst" in version.tags["proof.parity"]
    run = tracking.get_run(str(version.run_id))
    assert run.info.status == "FINISHED"
    assert run.data.params["epochs"] == str(EPOCHS)
    assert [one.step for one in tracking.get_metric_history(run.info.run_id, "loss")] == list(range(1, EPOCHS + 1))
    assert [one.step for one in tracking.get_metric_history(run.info.run_id, "map50")] == [10, 20]


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


def test_starting_the_job_again_registers_nothing_new(
    logs: list[str], platform: Platform, tracking: mlflow.MlflowClient
) -> None:
    platform.kubectl("delete", "job", JOB, "-n", NAMESPACE)
    platform.apply(manifest(platform))
    wait_until(lambda: _is_complete(platform), timeout_s=WITHIN_S, what=f"{JOB} complete again")
    (pod,) = (one for one in platform.pods(NAMESPACE, f"job-name={JOB}") if one["status"]["phase"] == "Succeeded")
    assert f"registered models:/{MODEL}/1" in platform.kubectl("logs", pod["metadata"]["name"], "-n", NAMESPACE)
    assert len(tracking.search_model_versions(f"name = '{MODEL}'")) == 1
