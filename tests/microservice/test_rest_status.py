"""What a component says of itself over REST: errors, metrics, health, metadata, the list of its paths."""

from __future__ import annotations

import asyncio
import threading

import grpc
import pytest

from slipway.contract.protos import prediction_pb2 as pb
from slipway.contract.protos import prediction_pb2_grpc as stubs
from slipway.executor.limits import PROBE_TIMEOUT_S
from slipway.microservice.seldon_names import SeldonComponent
from slipway.microservice.service import HEALTH_WAIT_S
from slipway.microservice.settings import Identity
from tests.microservice.components import Echo
from tests.microservice.conftest import Serve
from tests.waiting import eventually


async def test_an_exception_with_status_and_reason_is_that_error(serve: Serve):
    class TooLarge(Exception):
        status_code = 413
        reason = "IMAGE_TOO_LARGE"

    class Model:
        def predict(self, X, names):
            raise TooLarge("9000 x 9000 pixels")

    served = await serve(Model())
    async with served.session.post(served.url + "/predict", json={"strData": "x"}) as response:
        assert response.status == 413
        assert response.headers["x-slipway-reason"] == "IMAGE_TOO_LARGE"
        expected = {"status": 1, "info": "9000 x 9000 pixels", "code": -1, "reason": "IMAGE_TOO_LARGE"}
        assert await response.json() == {"status": expected}


@pytest.mark.parametrize("error", [SystemExit(3), StopIteration("end"), KeyboardInterrupt(), asyncio.CancelledError()])
async def test_nothing_that_a_component_raises_ends_the_server_or_stays_unsaid(
    serve: Serve, error, caplog: pytest.LogCaptureFixture
):
    class Model:
        def predict(self, X, names):
            raise error

    served = await serve(Model())
    for _ in range(2):
        status, answer = await served.post("/predict", {"strData": "x"})
        assert status == 500
        assert type(error).__name__ in answer["status"]["info"]
    with pytest.raises(grpc.aio.AioRpcError, match=type(error).__name__):
        await stubs.ModelStub(served.channel).Predict(pb.SeldonMessage(strData="x"))
    assert len(tracebacks := [record.exc_text or "" for record in caplog.records if record.levelname == "ERROR"]) == 3
    assert all("in predict" in text for text in tracebacks)


@pytest.mark.parametrize("metrics", [{}, [{"key": "a"}], [{"type": "X", "key": "a", "value": 1}],
                                     [{"type": "GAUGE", "key": "a b", "value": 1}],
                                     [{"type": "GAUGE", "key": "a", "value": float("nan")}]])  # fmt: skip
async def test_bad_metrics_are_the_components_error(serve: Serve, metrics, caplog: pytest.LogCaptureFixture):
    class Model(Echo):
        def metrics(self):
            return metrics

    served = await serve(Model())
    status, answer = await served.post("/predict", {"strData": "x"})
    assert (status, answer["status"]["reason"]) == (500, "MICROSERVICE_BAD_METRIC")
    assert [
        record.exc_info is not None for record in caplog.records if "MICROSERVICE_BAD_METRIC" in record.message
    ] == [True]
    assert "slipway_metric_series_dropped_total" in await served.metrics()


async def test_metrics_are_hidden_from_clients_when_told(serve: Serve):
    class Model(Echo):
        def metrics(self):
            return [{"type": "GAUGE", "key": "g", "value": 1}]

    served = await serve(Model(), metrics_in_replies=False)
    assert (await served.post("/predict", {"strData": "x"}))[1]["meta"] == {}
    assert "\ng{" in await served.metrics()


async def test_health_and_metrics_answer_while_the_model_computes(serve: Serve):
    release, started = threading.Event(), threading.Event()

    class Slow(Echo):
        def predict(self, X, names, meta=None):
            started.set()
            assert release.wait(20)
            return X

    served = await serve(Slow())
    computing = asyncio.create_task(served.post("/predict", {"strData": "x"}))
    try:
        await eventually(started.is_set)
        async with served.session.get(served.url + "/health/ping") as response:
            assert await response.text() == "pong"
        assert await served.get("/health/status") == (200, {"strData": "healthy", "meta": {}})
        assert (await served.get("/metadata"))[0] == 200
        await served.metrics()
        assert not computing.done()
    finally:
        release.set()
    assert (await computing)[0] == 200


def test_health_of_a_busy_component_is_told_well_within_the_second_of_a_probe():
    """A probe without ``timeoutSeconds`` waits for 1 s, and so does an executor's: a busy component is not a dead one."""
    assert PROBE_TIMEOUT_S == 1.0
    assert PROBE_TIMEOUT_S / 2 > HEALTH_WAIT_S


async def test_calls_are_one_at_a_time_unless_threads_are_asked_for(serve: Serve):
    class Counting:
        def __init__(self, together):
            self.barrier = threading.Barrier(2) if together else None
            self.now = self.most = 0
            self.lock = threading.Lock()

        def predict(self, X, names):
            with self.lock:
                self.now += 1
                self.most = max(self.most, self.now)
            if self.barrier:
                self.barrier.wait(10)
            return X

        def tags(self):
            with self.lock:
                self.now -= 1
            return {}

    for threads, together, most in ((1, False, 1), (2, True, 2)):
        model = Counting(together)
        served = await serve(model, threads=threads)
        answers = await asyncio.gather(*(served.post("/predict", {"strData": "x"}) for _ in range(4)))
        assert [status for status, _ in answers] == [200] * 4
        assert model.most == most


async def test_health_status_hooks(serve: Serve):
    class Model:
        def health_status(self):
            return "fine"

    class Raw:
        def health_status_raw(self):
            return {"any": "thing"}

    class Sick:
        def health_status(self):
            raise RuntimeError("no GPU")

    for path in ("/health/status", "/api/v1.0/health/status"):
        assert (await (await serve(Model())).get(path))[1]["strData"] == "fine"
        assert (await (await serve(Raw())).get(path))[1] == {"any": "thing"}
        assert (await (await serve(SeldonComponent())).get(path))[1]["strData"].startswith("not implemented")
        status, answer = await (await serve(Sick())).get(path)
        assert (status, answer["status"]["info"]) == (500, "no GPU")


async def test_draining_is_not_ready_but_still_serves(serve: Serve):
    served = await serve(Echo())
    served.lifecycle.start_draining()
    status, answer = await served.get("/health/status")
    assert (status, answer["status"]["reason"]) == (503, "NOT_READY")
    async with served.session.post(served.url + "/predict", json={"strData": "x"}) as response:
        assert response.status == 200
        assert response.headers["Connection"] == "close"


async def test_provenance_and_own_time_are_in_the_headers(serve: Serve):
    class Model(Echo):
        def __init__(self):
            super().__init__()
            self.provenance = {"name": "yolo", "version": "3", "digest": "sha256:abc"}

    served = await serve(Model())
    async with served.session.post(served.url + "/predict", json={"strData": "x"}) as response:
        assert response.headers["x-slipway-model"] == "yolo/3 sha256:abc"
        name, _, duration = response.headers["server-timing"].partition(";dur=")
        assert name == "Model"
        assert float(duration) >= 0


async def test_unknown_paths_and_wrong_methods(serve: Serve):
    served = await serve(Echo())
    status, answer = await served.get("/nope")
    assert (status, answer["status"]["reason"]) == (404, "NOT_FOUND")
    status, answer = await served.post("/health/status")
    assert (status, answer["status"]["reason"]) == (405, "METHOD_NOT_ALLOWED")


async def test_cors_is_open(serve: Serve):
    served = await serve(Echo())
    for origin, allowed in (({"Origin": "http://a"}, "http://a"), ({}, "*")):
        async with served.session.get(served.url + "/health/ping", headers=origin) as response:
            assert response.headers["Access-Control-Allow-Origin"] == allowed
    asked = {"Origin": "http://a", "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-y"}
    async with served.session.options(served.url + "/predict", headers=asked) as response:
        assert response.status == 200
        assert response.headers["Access-Control-Allow-Headers"] == "x-y"


async def test_openapi_names_every_path(serve: Serve):
    served = await serve(Echo())
    status, document = await served.get("/seldon.json")
    assert status == 200
    assert {"/predict", "/aggregate", "/send-feedback", "/metadata"} <= document["paths"].keys()


@pytest.mark.parametrize("version", ["v1.0", "v0.1"])
async def test_doc_page_lists_every_path_of_the_document_beside_it(serve: Serve, version: str):
    served = await serve(Echo())
    _, document = await served.get(f"/api/{version}/doc/seldon.json")
    assert document == (await served.get("/seldon.json"))[1]
    async with served.session.get(f"{served.url}/api/{version}/doc/") as response:
        assert (response.status, response.content_type) == (200, "text/html")
        page = await response.text()
    assert [path for path in document["paths"] if f"<code>{path}</code>" not in page] == []


async def test_metadata_defaults_come_from_the_image(serve: Serve):
    served = await serve(Echo(), identity=Identity("n", "localhost:5000/model:1.2", "d", "p", "v"))
    _, metadata = await served.get("/metadata")
    assert metadata["name"] == "localhost:5000/model"
    assert metadata["versions"] == ["1.2"]


async def test_metadata_of_the_variable_wins_over_the_class(serve: Serve):
    class Model(Echo):
        def init_metadata(self):
            return {"name": "class", "platform": "p"}

    served = await serve(Model(), model_metadata="name: variable\nversions: ['2']")
    _, metadata = await served.get("/api/v1.0/metadata")
    assert (metadata["name"], metadata["platform"], metadata["versions"]) == ("variable", "p", ["2"])


async def test_bad_metadata_is_an_error_while_prediction_works(serve: Serve):
    class Model(Echo):
        def init_metadata(self):
            return {"versions": 3}

    served = await serve(Model())
    status, answer = await served.get("/metadata")
    assert (status, answer["status"]["reason"]) == (500, "MICROSERVICE_BAD_METADATA")
    assert (await served.post("/predict", {"strData": "x"}))[0] == 200
