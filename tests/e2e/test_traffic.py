"""Callers who stay, groups, the access log, tokens and HTTPS on a real platform, as docs/traffic.md tells."""

from __future__ import annotations

import json
import socket
import ssl
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from scripts.demo import photo
from slipway.client import Client, Refused
from tests.e2e.platform import Platform
from tests.e2e.test_wire_forms import PHOTO
from tests.onebox_mesh.certificates import chain_of, tls_secret
from tests.onebox_mesh.tokens import Issuer
from tests.onebox_mesh.world import authentication, policy
from tests.ports import free_ports
from tests.waiting import wait_until

SECURITY = "security.istio.io/v1"
REWARDS = 60
USERS = [f"user-{number}" for number in range(24)]


def ask(platform: Platform, **headers: str) -> tuple[int, str | None]:
    """(status, who answered) of a prediction; a body that is no photo is answered by its predictor, too."""
    url = f"http://{platform.gateway}/seldon/default/yolo/api/v1.0/metadata"
    request = urllib.request.Request(url, headers={name.replace("_", "-"): value for name, value in headers.items()})
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:
            return reply.status, reply.headers["x-slipway-predictor"]
    except urllib.error.HTTPError as error:
        return error.code, error.headers["x-slipway-reason"]


def uids(platform: Platform) -> set[str]:
    return {pod["metadata"]["uid"] for pod in platform.pods(selector="seldon-deployment-id=yolo")}


@pytest.fixture(scope="module")
def yolo(platform: Platform) -> Iterator[set[str]]:
    """The demo's canary with its Pods' uids, and as it was afterwards."""
    platform.slipway("apply", "-k", "seldon/overlays/canary")
    platform.wait_available("yolo")
    yield uids(platform)
    platform.slipway("apply", "-k", "seldon/overlays/canary")
    platform.wait_available("yolo")


def set_shares(platform: Platform, stable: int, canary: int) -> None:
    """And until the gateway has taken that up, after one of the two had everything."""
    shares = enumerate((stable, canary))
    body = [{"op": "replace", "path": f"/spec/predictors/{n}/traffic", "value": share} for n, share in shares]
    platform.kubectl("patch", "sdep", "yolo", "--type", "json", "-p", json.dumps(body))
    wanted = {name for name, share in (("stable", stable), ("canary", canary)) if share}
    wait_until(lambda: {ask(platform)[1] for _ in range(40)} == wanted, timeout_s=30, what=f"{stable} and {canary} %")


def test_feedback_comes_to_the_predictor_that_answered(platform: Platform, yolo: set[str]) -> None:
    """Of 60 rewards none goes to the other one, and at 0 % the one that answered still gets its own."""
    url = f"http://{platform.gateway}/seldon/default/yolo"
    for shares in ((0, 100), (50, 50)):
        set_shares(platform, *shares)
    with Client(url) as rest, Client(url, transport="grpc") as grpc:
        answers = [(client, client.detect(photo(PHOTO))) for _ in range(REWARDS // 2) for client in (rest, grpc)]
        assert min(Counter(found.predictor for _, found in answers).values()) >= 5  # less once in 10^12 runs
        wrong = [found for client, found in answers if client.feedback(1.0, reply=found).predictor != found.predictor]
        assert not wrong, f"{len(wrong)} of {len(answers)}"
        set_shares(platform, 100, 0)
        for client, found in answers[:10]:
            assert client.feedback(1.0, reply=found).predictor == found.predictor
        for client in (rest, grpc):
            gone = replace(answers[0][1].reply, predictor="gone")
            with pytest.raises(Refused, match="FEEDBACK_PREDICTOR_UNKNOWN: this feedback is about") as refused:
                client.feedback(1.0, reply=gone)
            assert refused.value.code == 404
    set_shares(platform, 90, 10)
    assert uids(platform) == yolo


def test_sticky_callers_stay_over_a_raised_canary_and_no_pod_restarts(platform: Platform, yolo: set[str]) -> None:
    platform.slipway("apply", "-k", "seldon/overlays/sticky")
    wait_until(lambda: _buckets(platform) == "stable=9000,canary=1000", timeout_s=30, what="the buckets")
    wait_until(lambda: len({ask(platform, x_user="one") for _ in range(10)}) == 1, timeout_s=10, what="one predictor")
    before = {user: ask(platform, x_user=user) for user in USERS}
    body = [
        {"op": "replace", "path": f"/spec/predictors/{n}/traffic", "value": share} for n, share in ((0, 40), (1, 60))
    ]
    platform.kubectl("patch", "sdep", "yolo", "--type", "json", "-p", json.dumps(body))
    wait_until(lambda: _buckets(platform) == "stable=4000,canary=6000", timeout_s=30, what="the new buckets")
    wait_until(
        lambda: {user: ask(platform, x_user=user) for user in USERS} != before, timeout_s=10, what="the new split"
    )
    after = {user: ask(platform, x_user=user) for user in USERS}
    assert {status for status, _ in after.values()} == {200}
    assert all(after[user][1] == "canary" for user in USERS if before[user][1] == "canary")
    assert uids(platform) == yolo


def _buckets(platform: Platform) -> str | None:
    found: str | None = platform.get("vs", "yolo")["metadata"].get("annotations", {}).get("slipway.dev/buckets")
    return found


def test_group_meets_its_predictor_and_the_access_log_says_who_answered(platform: Platform, yolo: set[str]) -> None:
    platform.slipway("apply", "-k", "seldon/overlays/abtest")
    wait_until(lambda: ask(platform, x_group="b") == (200, "canary"), timeout_s=30, what="the group's route")
    assert {ask(platform) for _ in range(10)} == {(200, "stable")}
    assert {ask(platform, x_group="b", seldon_puid="mine-1") for _ in range(10)} == {(200, "canary")}
    assert uids(platform) == yolo

    def mine() -> list[dict[str, Any]]:
        lines = platform.slipway("access", "yolo", "--predictor", "canary", "--json", "--tail", "1000").splitlines()
        return [entry for entry in map(json.loads, lines) if entry["puid"] == "mine-1"]

    wait_until(lambda: len(mine()) == 10, timeout_s=10, what="ten lines of the access log")
    pods = {pod["metadata"]["name"] for pod in platform.pods(selector="seldon-deployment-id=yolo")}
    assert {entry["pod"] for entry in mine()} < pods
    assert {(entry["status"], entry["version"], entry["namespace"]) for entry in mine()} == {(200, "canary", "default")}


def test_tokens_are_asked_for_and_no_more_when_the_policy_is_gone(platform: Platform, yolo: set[str]) -> None:
    issuer = Issuer("https://id.example")
    objects = [
        authentication({"issuer": issuer.name, "jwks": issuer.jwks}),
        policy("members", {"from": [{"source": {"requestPrincipals": [f"{issuer.name}/*"]}}]}),
    ]
    for obj in objects:
        platform.apply({"apiVersion": SECURITY, **obj})
    try:
        good = f"Bearer {issuer.token()}"
        wait_until(lambda: ask(platform) == (403, "PERMISSION_DENIED"), timeout_s=30, what="the policy")
        wait_until(lambda: ask(platform, authorization=good)[0] == 200, timeout_s=30, what="the token")
        assert ask(platform, authorization=f"{good}x") == (401, "UNAUTHENTICATED")
    finally:
        for obj in objects:
            platform.kubectl("delete", obj["kind"], obj["metadata"]["name"], "-n", "istio-system")
    wait_until(lambda: ask(platform)[0] == 200, timeout_s=30, what="everybody again")


def test_https_is_served_with_the_secret_s_certificate(platform: Platform, yolo: set[str]) -> None:
    (port,) = free_ports(1)
    secret = tls_secret("yolo.example")
    server = {
        "port": {"number": port, "name": "https", "protocol": "HTTPS"},
        "hosts": ["yolo.example"],
        "tls": {"mode": "SIMPLE", "credentialName": "gateway-tls"},
    }
    platform.apply(secret)
    body = json.dumps([{"op": "add", "path": "/spec/servers/-", "value": server}])
    platform.kubectl("patch", "gateway", "seldon-gateway", "-n", "istio-system", "--type", "json", "-p", body)
    context = ssl.create_default_context(cadata=chain_of(secret))

    path = "/seldon/default/yolo/api/v1.0/metadata"
    request = f"GET {path} HTTP/1.1\r\nhost: yolo.example\r\nconnection: close\r\n\r\n".encode()

    def is_served() -> bool:
        try:
            with (
                socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
                context.wrap_socket(plain, server_hostname="yolo.example") as secure,
                secure.makefile("rb") as answer,
            ):
                secure.sendall(request)
                return answer.readline().strip() == b"HTTP/1.1 200 OK"
        except OSError:
            return False

    try:
        wait_until(is_served, timeout_s=30, what="HTTPS")
    finally:
        body = json.dumps([{"op": "remove", "path": "/spec/servers/1"}])
        platform.kubectl("patch", "gateway", "seldon-gateway", "-n", "istio-system", "--type", "json", "-p", body)
        platform.kubectl("delete", "secret", "gateway-tls", "-n", "istio-system")
