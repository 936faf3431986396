"""Everything killed without registry and S3; a damaged object in S3."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import pytest

from scripts.demo import photo
from slipway.onebox.services.credentials import load_model_credentials
from slipway.onebox.services.pods import living_containers
from slipway.onebox.supervisor.history import Phase
from slipway.onebox.supervisor.process import signal_group
from slipway.onebox.supervisor.procfs import identify
from slipway.onebox.supervisor.state import ProcessState, load_states
from tests.e2e import guest
from tests.e2e.platform import Platform
from tests.e2e.s3 import client as s3_client
from tests.waiting import wait_until

pytestmark = [pytest.mark.data, pytest.mark.usefixtures("walkers")]
SERVICES = "mlflow,s3,postgres"
AT_MOST_S = 90.0
"""The promise is 15 s on two cores that do nothing else; what it took is printed, because CI's cores do other things."""
HEALS_WITHIN_S = 60.0  # above the back-off of the few attempts that the test waits for
DETECTOR = "detector"
INITIALIZER = "detector-model-initializer"


def kill_everything(platform: Platform) -> None:
    """-9 to the supervisor, its processes and every container; returns when all are gone."""
    pids = platform.processes()
    assert {one.pid for one in living_containers(platform.paths).values()} <= pids
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(map(identify, pids)), what="every process is dead")


async def serve(platform: Platform) -> tuple[guest.Answer, guest.Answer]:
    """The first answers of ``yolo`` and of the reader's own."""
    return await guest.over_rest(platform, photo(0), name="yolo", namespace="default"), await guest.over_rest(
        platform, guest.PHOTO.read_bytes()
    )


async def serve_eventually(platform: Platform) -> tuple[guest.Answer, guest.Answer]:
    yolo = guest.eventually_over_rest(platform, photo(0), name="yolo", namespace="default", timeout_s=AT_MOST_S)
    walkers = guest.eventually_over_rest(platform, guest.PHOTO.read_bytes(), timeout_s=AT_MOST_S)
    return await asyncio.gather(yolo, walkers)


async def recover(platform: Platform, *words: str) -> tuple[float, float, tuple[guest.Answer, guest.Answer]]:
    """``slipway up`` after everything died: seconds until it answers, seconds until it returns, the first answers."""
    started = time.monotonic()
    up = asyncio.create_task(asyncio.to_thread(platform.slipway, "up", *words))
    answers = await serve_eventually(platform)
    serving_s = time.monotonic() - started
    await up
    return serving_s, time.monotonic() - started, answers


def identities(platform: Platform) -> list[tuple[str, int]]:
    """(uid, generation): the same afterwards when nobody applied anything."""
    found = [platform.get("sdep", "yolo"), platform.get("sdep", guest.NAME, guest.NAMESPACE)]
    return [(item["metadata"]["uid"], item["metadata"]["generation"]) for item in found]


def detector_pods(platform: Platform) -> dict[str, dict[str, Any]]:
    pods = platform.pods(guest.NAMESPACE)
    return {
        pod["metadata"]["name"]: pod
        for pod in pods
        if pod["spec"]["containers"][0]["name"] == DETECTOR and "deletionTimestamp" not in pod["metadata"]
    }


def replace_a_pod(platform: Platform) -> str:
    """Delete one detector Pod; the name of its successor."""
    before = detector_pods(platform)
    platform.kubectl("delete", "pod", min(before), "-n", guest.NAMESPACE, "--wait=false")
    return min(wait_until(lambda: detector_pods(platform).keys() - before.keys(), what="a new Pod"))


def is_ready(platform: Platform, pod: str) -> bool:
    conditions = detector_pods(platform)[pod]["status"].get("conditions") or ()
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


def initializer_log(platform: Platform, pod: str) -> str:
    return platform.kubectl("logs", pod, "-n", guest.NAMESPACE, "-c", INITIALIZER, check=False)


async def test_hung_envoy_is_replaced_and_every_connection_is_answered_again(platform: Platform) -> None:
    def envoy() -> ProcessState:
        return load_states(platform.paths.run)["envoy-0"]

    hung = envoy()
    assert hung.identity is not None
    signal_group(hung.identity, signal.SIGSTOP)  # it keeps its port, and half of all new connections

    def is_replaced() -> bool:
        now = envoy()
        return now.phase is Phase.READY and now.identity != hung.identity

    wait_until(is_replaced, timeout_s=HEALS_WITHIN_S, what="another envoy-0 is ready")
    for _ in range(10):
        assert all(answer.model for answer in await serve(platform))


async def test_kill_of_everything_without_registry_and_s3_comes_back(
    platform: Platform, capsys: pytest.CaptureFixture[str]
) -> None:
    applied, before = identities(platform), await serve(platform)
    platform.slipway("down", *SERVICES.split(","))
    kill_everything(platform)
    serving_s, up_s, after = await recover(platform, "--without", SERVICES)
    with capsys.disabled():
        print(f"\nkilled, without {SERVICES}: serving after {serving_s:.1f} s, up after {up_s:.1f} s")
    assert after[1] == before[1]
    assert identities(platform) == applied

    successor = replace_a_pod(platform)
    wait_until(lambda: is_ready(platform, successor), timeout_s=AT_MOST_S, what="a new Pod without S3")
    assert "from the verified cache; the store is away" in initializer_log(platform, successor)


async def test_kill_of_everything_comes_back_with_one_command(
    platform: Platform, capsys: pytest.CaptureFixture[str]
) -> None:
    kill_everything(platform)
    serving_s, up_s, _ = await recover(platform)
    with capsys.disabled():
        print(f"\nkilled, with all services: serving after {serving_s:.1f} s, up after {up_s:.1f} s")
    platform.wait_available("yolo")
    platform.wait_available(guest.NAME, guest.NAMESPACE)


@pytest.fixture
def s3(platform: Platform) -> Iterator[Any]:
    """A client with the registrar's rights."""
    client = s3_client(load_model_credentials(platform.paths))
    yield client
    client.close()


def weights_object(platform: Platform, s3: Any) -> dict[str, str]:
    """Bucket and key of the weights that the reader's SeldonDeployment was resolved to."""
    (model,) = platform.get("sdep", guest.NAME, guest.NAMESPACE)["status"]["models"]
    source = urlsplit(model["source"])
    found = s3.list_objects_v2(Bucket=source.netloc, Prefix=source.path.strip("/") + "/")["Contents"]
    (key,) = [item["Key"] for item in found if PurePosixPath(item["Key"]).suffix == ".weights"]
    return {"Bucket": source.netloc, "Key": key}


async def test_flipped_byte_in_s3_is_refused_by_a_new_pod_until_it_is_repaired(platform: Platform, s3: Any) -> None:
    place = weights_object(platform, s3)
    good = s3.get_object(**place)["Body"].read()
    bad = bytearray(good)
    bad[len(bad) // 2] ^= 1
    s3.put_object(**place, Body=bytes(bad))
    refusal = f"expected sha256:{sha256(good)}, found sha256:{sha256(bytes(bad))}"
    try:
        successor = replace_a_pod(platform)
        wait_until(lambda: refusal in initializer_log(platform, successor), timeout_s=30, what="the Pod's log")
        wait_until(lambda: refusal in status_text(platform), timeout_s=30, what="the SeldonDeployment's status")
        described = platform.kubectl("describe", "pod", successor, "-n", guest.NAMESPACE)
        assert refusal in described
        assert not is_ready(platform, successor)
        assert (await guest.over_rest(platform, guest.PHOTO.read_bytes())).body["counts"]["body"] >= 1
    finally:
        s3.put_object(**place, Body=good)
    wait_until(lambda: is_ready(platform, successor), timeout_s=HEALS_WITHIN_S, what="the repaired Pod")
    platform.wait_available(guest.NAME, guest.NAMESPACE)
    assert refusal not in status_text(platform)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def status_text(platform: Platform) -> str:
    """What a person sees of the SeldonDeployment's state."""
    return platform.kubectl("describe", "sdep", guest.NAME, "-n", guest.NAMESPACE)
