"""What is asked, and what comes of the answers: the real API, a recorded one, and servers that are dead, slow or mad."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

import slipway.doctor.look as looking
from slipway.doctor.checks.envoy_filters import ENVOY_FILTER, FILTERS
from slipway.doctor.checks.mesh import NAMESPACES
from slipway.doctor.checks.metrics import NODES
from slipway.doctor.checks.permissions import SELDON
from slipway.doctor.checks.storage import THE_SECRET, probes, services
from slipway.doctor.facts import Facts, Unanswered
from slipway.doctor.findings import findings
from slipway.doctor.look import NotAnApi, look
from slipway.doctor.question import Permission
from slipway.kube.client import Kube
from slipway.kube.errors import Unauthorized, Unavailable
from slipway.kube.kubeconfig import Access
from slipway.onebox.api import discovery
from tests.data import KUBE_API, SCHEMAS
from tests.doctor.cluster import envoy_filters
from tests.onebox_api.conftest import parts, server
from tests.onebox_api.inside import ADMIN_TOKEN

__all__ = ["parts", "server"]
GUEST_TOKEN = "token-of-a-guest"
LONGER_THAN_A_SLOW_MACHINE_S = 45
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def client(server: TestServer, token: str = ADMIN_TOKEN) -> AsyncIterator[Kube]:
    async with Kube(Access(str(server.make_url("/")).rstrip("/"), token=token)) as kube:
        yield kube


@asynccontextmanager
async def answering(handler: Handler) -> AsyncIterator[Kube]:
    """An API that ``handler`` plays."""

    async def handle(request: web.Request) -> web.StreamResponse:
        return await handler(request)

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", handle)
    async with TestServer(app) as played, client(played) as kube:
        yield kube


def levels(facts: Facts, check: str) -> list[str]:
    return [item.level for item in findings(facts) if item.check == check]


async def test_one_machine_is_known_by_its_version_and_asked_only_what_applies(server: TestServer) -> None:
    async with client(server) as kube:
        facts = await look(kube)
    assert facts.is_one_machine
    assert levels(facts, "permissions") == ["ok", "n/a", "n/a"]
    assert levels(facts, "controller") == ["n/a"]
    assert FILTERS not in facts.answers
    assert not [item for item in findings(facts) if item.level == "unknown"]


@pytest.fixture
def as_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """The API of one machine says that it is a cluster's, so that everything is asked of it."""
    monkeypatch.setitem(discovery.VERSION, "gitVersion", "v1.32.4")


@pytest.mark.usefixtures("as_cluster")
async def test_an_empty_cluster_lacks_everything_and_says_so(server: TestServer) -> None:
    async with client(server) as kube:
        facts = await look(kube, namespace="team-a")
    assert not facts.is_one_machine
    for check in ("nodes", "controller", "models", "gateway", "buffers"):
        assert "fail" in levels(facts, check), check
    assert levels(facts, "kubernetes") == ["ok"]
    assert facts.objects(NODES) == (), "a kind that is not served has no objects"


@pytest.mark.usefixtures("as_cluster")
async def test_what_is_installed_is_seen(server: TestServer) -> None:
    text = (SCHEMAS / "istio" / "customresourcedefinitions.gen.yaml").read_text()
    filters = [
        item
        for item in yaml.load_all(text, Loader=yaml.CSafeLoader)
        if item and item["spec"]["names"]["kind"] in ("EnvoyFilter", "PeerAuthentication")
    ]
    async with client(server) as kube:
        for item in filters:
            await kube.apply(item, field_manager="test")
        for name in ("istio-system", "team-a"):
            await kube.apply(
                {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}, field_manager="test"
            )
        for item in envoy_filters():
            await kube.apply(item, kind=ENVOY_FILTER, field_manager="test")
        facts = await look(kube, namespace="team-a")
    assert set(levels(facts, "buffers")) == {"ok"}
    assert levels(facts, "mesh") == ["warn"]
    assert facts.serves("security.istio.io/v1")


async def test_who_may_little_is_told_what_is_missing(server: TestServer) -> None:
    rules = [{"apiGroups": [SELDON], "resources": ["seldondeployments"], "verbs": ["get", "list"]}]
    account = {"kind": "ServiceAccount", "name": "guest", "namespace": "team-a"}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "guest"}
    rbac = "rbac.authorization.k8s.io/v1"
    meta = {"name": "guest", "namespace": "team-a"}
    async with client(server) as kube:
        await kube.apply(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team-a"}}, field_manager="test"
        )
        await kube.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta}, field_manager="test")
        await kube.apply({"apiVersion": rbac, "kind": "Role", "metadata": meta, "rules": rules}, field_manager="test")
        binding = {"apiVersion": rbac, "kind": "RoleBinding", "metadata": meta, "roleRef": role, "subjects": [account]}
        await kube.apply(binding, field_manager="test")
        kind = "kubernetes.io/service-account-token"
        about = {**meta, "annotations": {"kubernetes.io/service-account.name": "guest"}}
        data = {"token": base64.b64encode(GUEST_TOKEN.encode()).decode()}
        made = {"apiVersion": "v1", "kind": "Secret", "metadata": about, "type": kind, "data": data}
        await kube.apply(made, field_manager="test")
    async with client(server, GUEST_TOKEN) as guest:
        facts = await look(guest, namespace="team-a")
    (found,) = [item for item in findings(facts) if item.check == "permissions" and item.level == "fail"]
    assert "create seldondeployments" in found.what
    assert "list seldondeployments" not in found.what
    models = next(item for item in findings(facts) if item.check == "models")
    assert models.level == "unknown"
    assert "cannot get resource" in models.what


class Recorded:
    """Answers GETs and reviews as a real kube-apiserver did; what was not recorded is not there."""

    def __init__(self) -> None:
        self.pairs: dict[tuple[str, str], dict[str, Any]] = {}
        self.reviews: list[dict[str, Any]] = []
        for theme in ("02-discovery", "14-auth"):
            for pair in json.loads((KUBE_API / f"{theme}.json").read_text())["pairs"]:
                request, response = pair["request"], pair["response"]
                if isinstance(response.get("body"), dict) and request["as"] == "admin" and response["status"] < 300:
                    self._keep(request, response)

    def _keep(self, request: dict[str, Any], response: dict[str, Any]) -> None:
        if (
            request["method"] == "GET"
            and "json" in request["headers"].get("Accept", "json")
            and "as=" not in str(request["headers"])
        ):
            self.pairs.setdefault(("GET", request["path"]), response["body"])
        if response["body"].get("kind") == "SelfSubjectAccessReview":
            self.reviews.append(request["body"])
            self.pairs["POST", request["path"]] = response["body"]

    async def __call__(self, request: web.Request) -> web.Response:
        found = self.pairs.get((request.method, request.path))
        if found is None:
            status = {
                "kind": "Status",
                "status": "Failure",
                "reason": "NotFound",
                "code": 404,
                "message": "not recorded",
            }
            return web.json_response(status, status=404)
        return web.json_response(found, status=200 if request.method == "GET" else 201)


async def test_the_answers_of_a_recorded_cluster_are_understood() -> None:
    recorded = Recorded()
    async with answering(recorded) as kube:
        facts = await look(kube)
    assert facts.version.startswith("v1.32.13")
    assert not facts.is_one_machine
    assert facts.serves("apps/v1")
    assert levels(facts, "kubernetes") == ["ok"]
    assert all(isinstance(answer, bool) for permission, answer in facts.may.items() if not permission.user)


async def test_reviews_have_the_form_that_was_recorded() -> None:
    sent: list[dict[str, Any]] = []

    async def review(request: web.Request) -> web.Response:
        sent.append(await request.json())
        return web.json_response({"status": {"allowed": False}}, status=201)

    async with answering(review) as kube:
        may = await looking._may(kube, Permission("get", "", "pods/log", "team-a"))
    assert may is False
    recorded = [body for body in Recorded().reviews if "resourceAttributes" in body["spec"]]
    assert recorded
    known = {key for body in recorded for key in body["spec"]["resourceAttributes"]}
    assert sent[0]["apiVersion"] == recorded[0]["apiVersion"]
    assert sent[0]["spec"]["resourceAttributes"].keys() - {"subresource"} <= known
    assert sent[0]["spec"]["resourceAttributes"]["subresource"] == "log"


async def test_a_dead_server_is_one_sentence() -> None:
    address = f"http://127.0.0.1:{unused_port()}"
    async with Kube(Access(address)) as kube:
        with pytest.raises(Unavailable, match="/version"):
            await look(kube)


async def test_a_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "FIRST_ANSWER_S", 0.2)
    async with answering(_never) as kube:
        with pytest.raises(Unavailable, match="no answer within"):
            await look(kube)


async def _never(request: web.Request) -> web.Response:
    await asyncio.Event().wait()
    return web.Response()


def _version_then(then: Handler) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        if request.path == "/version":
            return web.json_response({"gitVersion": "v1.32.0"})
        if request.path == "/apis":
            return web.json_response({"groups": []})
        return await then(request)

    return handle


async def test_a_server_that_becomes_slow_bounds_each_request_and_all_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "ANSWER_S", 0.2)
    monkeypatch.setattr(looking, "TOTAL_S", 0.5)
    async with answering(_version_then(_never)) as kube, asyncio.timeout(LONGER_THAN_A_SLOW_MACHINE_S):
        facts = await look(kube)
    assert all(isinstance(answer, Unanswered) for answer in facts.answers.values())
    assert "no answer within 0.2 s" in next(item.what for item in findings(facts) if item.level == "unknown")


async def test_a_server_that_does_not_say_what_it_serves_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def mute(request: web.Request) -> web.StreamResponse:
        return await (_version_then(_never) if request.path == "/version" else _never)(request)

    monkeypatch.setattr(looking, "FIRST_ANSWER_S", 0.5)
    async with answering(mute) as kube:
        with pytest.raises(Unavailable, match=r"no answer within 0\.5 s"):
            await look(kube)


async def test_what_has_a_version_and_serves_nothing_readable_is_no_api() -> None:
    async def other(request: web.Request) -> web.Response:
        return web.json_response({"gitVersion": "v1"} if request.path == "/version" else {"groups": [1]})

    async with answering(other) as kube:
        with pytest.raises(NotAnApi, match="/apis has another form"):
            await look(kube)


async def _refusing(request: web.Request) -> web.Response:
    status = {"kind": "Status", "code": 403, "reason": "Forbidden", "message": f"you may not {request.path}"}
    return web.json_response(status, status=403)


async def _failing(_: web.Request) -> web.Response:
    return web.Response(status=500, text="<h1>oops</h1>")


async def _garbage(_: web.Request) -> web.Response:
    return web.Response(body=b"\xff\x00<html>", content_type="application/json")


async def _other_form(_: web.Request) -> web.Response:
    return web.json_response({"items": [1, None], "metadata": [], "status": []})


async def _broken(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    assert request.transport is not None
    request.transport.close()
    return response


@pytest.mark.parametrize("then", [_refusing, _failing, _garbage, _other_form, _broken])
async def test_what_a_mad_server_says_is_unknown_and_no_traceback(then: Handler) -> None:
    async with answering(_version_then(then)) as kube:
        facts = await look(kube)
    by_list = [answer for question, answer in facts.answers.items() if question.name is None]
    assert all(isinstance(answer, Unanswered) for answer in by_list)
    assert next(item for item in findings(facts) if item.check == "nodes").level == "unknown"


async def _unauthorized(_: web.Request) -> web.Response:
    return web.json_response({"kind": "Status", "code": 401, "message": "Unauthorized"}, status=401)


async def test_credentials_that_are_not_taken_are_said() -> None:
    async with answering(_unauthorized) as kube:
        with pytest.raises(Unauthorized):
            await look(kube)


async def test_what_is_no_api_is_said() -> None:
    async def other(_: web.Request) -> web.Response:
        return web.json_response({"hello": "world"})

    async with answering(other) as kube:
        with pytest.raises(NotAnApi, match="gitVersion"):
            await look(kube)


class Storage:
    """A cluster whose Secret names MLflow as a Service, with ``slices`` behind it, and S3 at ``s3``."""

    def __init__(self, s3: str, slices: Handler) -> None:
        self.data = {"MLFLOW_TRACKING_URI": "http://mlflow.slipway-system.svc:5000", "AWS_ENDPOINT_URL": s3}
        self.slices = slices
        self.asked: list[str] = []

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(f"{request.method} {request.path}")
        if request.query.get("labelSelector") == "kubernetes.io/service-name=mlflow":
            return await self.slices(request)
        if request.path == THE_SECRET.kind.path(namespace=THE_SECRET.namespace, name=THE_SECRET.name):
            data = {key: base64.b64encode(value.encode()).decode() for key, value in self.data.items()}
            return web.json_response(
                {"metadata": {"name": THE_SECRET.name, "namespace": "slipway-system"}, "data": data}
            )
        return await _version_then(_refusing)(request)


async def _s3(request: web.Request) -> web.Response:
    assert "Authorization" not in request.headers
    return web.Response(status=403, text="<Error><Code>AccessDenied</Code></Error>")


def _pods(*ready: bool) -> Handler:
    async def answer(request: web.Request) -> web.Response:
        assert request.path == "/apis/discovery.k8s.io/v1/namespaces/slipway-system/endpointslices"
        endpoints = [{"conditions": {"ready": each}} for each in ready]
        return web.json_response({"metadata": {"resourceVersion": "1"}, "items": [{"endpoints": endpoints}]})

    return answer


@pytest.mark.parametrize(
    ("slices", "level", "text"),
    [
        (_pods(True, False, True), "ok", "has 2 ready Pods behind its Service; it was not asked"),
        (_pods(False), "fail", "no ready Pod behind its Service"),
        (_pods(), "fail", "no ready Pod behind its Service"),
        (_refusing, "unknown", "you may not"),
    ],
    ids=["answers", "starts", "stopped", "the API refuses"],
)
async def test_a_service_is_judged_by_its_pods_and_another_address_asked_without_credentials(
    slices: Handler, level: str, text: str
) -> None:
    app = web.Application()
    app.router.add_get("/", _s3)
    async with TestServer(app) as s3:
        storage = Storage(str(s3.make_url("/")), slices)
        async with answering(storage) as kube:
            facts = await look(kube)
    assert not [line for line in storage.asked if "/proxy/" in line]  # a policy that is enforced would cut that
    found = {item.what.partition(" ")[0].strip(":"): item for item in findings(facts) if item.check == "models"}
    assert found["MLflow"].level == level
    assert text in found["MLflow"].what
    assert "S3 at" in found["S3"].what
    assert "answers 403 without credentials (from this machine)" in found["S3"].what


async def test_nothing_but_reads_and_reviews_is_sent() -> None:
    asked: list[str] = []

    async def note(request: web.Request) -> web.StreamResponse:
        asked.append(f"{request.method} {request.path}")
        return await _version_then(_refusing)(request)

    async with answering(note) as kube:
        await look(kube)
    writes = [line for line in asked if not line.startswith("GET ")]
    assert writes
    assert all(line.endswith("accessreviews") for line in writes)


def test_addresses_of_services_and_of_others_are_told_apart() -> None:
    def behind(address: str) -> tuple[str | None, str | None]:
        data = {"AWS_ENDPOINT_URL": base64.b64encode(address.encode()).decode()}
        namespaces = tuple({"metadata": {"name": name}} for name in ("seaweedfs", "slipway-system"))
        facts = Facts(answers={THE_SECRET: ({"metadata": {"name": "x"}, "data": data},), NAMESPACES: namespaces})
        slices = services(facts)
        assert len(probes(facts)) + len(slices) == 1
        return (slices[0].namespace, slices[0].selector) if slices else (None, None)

    service = ("seaweedfs", "kubernetes.io/service-name=seaweedfs-s3")
    assert behind("http://seaweedfs-s3.seaweedfs.svc:8333") == service
    assert behind("http://seaweedfs-s3.seaweedfs.svc.cluster.local:8333/") == service
    assert behind("https://seaweedfs-s3.seaweedfs.svc") == service
    assert behind("http://seaweedfs-s3.seaweedfs:8333") == service
    assert behind("http://mlflow.slipway-system:5000")[0] == "slipway-system"
    for address in ("http://example.com:8333", "http://127.0.0.1:8333", "https://s3.example.com", "http://localhost:1"):
        assert behind(address) == (None, None)


def test_the_first_answer_comes_within_ten_seconds() -> None:
    assert looking.FIRST_ANSWER_S < 10
