"""Whole processes: start, refuse to start, drain, end."""

from __future__ import annotations

import json
import signal
import threading
from pathlib import Path

import grpc
import pytest

from slipway.contract.protos import prediction_pb2 as pb
from slipway.contract.protos import prediction_pb2_grpc as stubs
from tests.microservice.process import ECHO, LOADED, ask
from tests.waiting import wait_until

SERVICE = """
    def load(self):
        self.model = "loaded"
    def custom_service(self):
        with open("service.new", "w") as file:
            file.write(f"{os.getpid()} {self.model}")
        os.replace("service.new", "service")
"""
SLOW = """
import pathlib, time
class Mod:
    def predict(self, X, names):
        pathlib.Path("started").touch()
        while not pathlib.Path("release").exists():
            time.sleep(0.01)
        return X
"""


def test_one_process_serves_both_protocols_from_one_load(start_process, tmp_path: Path):
    source = ECHO + "    def load(self):\n        open('loads', 'a').write('load ')\n"
    process = start_process(source, PREDICTIVE_UNIT_METRICS_ENDPOINT="/prometheus")
    rest, target, metrics = process.ready()
    assert rest.startswith("127.0.0.1:")
    assert json.loads(ask(rest, "/predict", {"strData": "x"})[1])["jsonData"]["pid"] == process.process.pid
    with grpc.insecure_channel(target) as channel:
        reply = stubs.ModelStub(channel).Predict(pb.SeldonMessage(strData="x"), timeout=10)
    assert reply.jsonData.struct_value.fields["pid"].number_value == process.process.pid
    assert b"calls_total{" in ask(metrics, "/prometheus")[1]
    assert ask(metrics, "/other")[0] == 404
    assert (tmp_path / "loads").read_text() == "load "


def test_an_idle_process_stays_below_70_megabytes(start_process):
    process = start_process(ECHO)
    rest, _, _ = process.ready()
    ask(rest, "/predict", {"strData": "x"})
    rollup = Path(f"/proc/{process.process.pid}/smaps_rollup").read_text()
    pss_kb = next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    assert pss_kb < 70 * 1024


def test_sigterm_answers_what_is_under_way_and_ends_with_zero(start_process, tmp_path: Path):
    process = start_process(SLOW, "--drain", "3")  # long enough to be seen on a busy machine
    rest, _, _ = process.ready()
    answers: list[tuple[int, bytes]] = []
    asking = threading.Thread(target=lambda: answers.append(ask(rest, "/predict", {"strData": "x"})))
    asking.start()
    wait_until((tmp_path / "started").exists)
    process.send(signal.SIGTERM)
    wait_until(lambda: ask(rest, "/health/status")[0] == 503, what="not ready while draining")
    (tmp_path / "release").touch()
    asking.join(20)
    assert answers[0][0] == 200
    assert process.wait() == 0


def test_work_that_does_not_end_is_given_up_after_the_grace(start_process, tmp_path: Path):
    process = start_process(SLOW, "--grace", "0.2", "--drain", "0")
    rest, _, _ = process.ready()
    asking = threading.Thread(target=_ask_quietly, args=(rest,))
    asking.start()
    wait_until((tmp_path / "started").exists)
    process.send(signal.SIGTERM)
    assert process.wait() == 0
    asking.join(20)


def _ask_quietly(address: str) -> None:
    try:
        ask(address, "/predict", {"strData": "x"})
    except OSError:
        return


def test_a_second_signal_ends_at_once(start_process):
    process = start_process(ECHO, "--drain", "60")
    process.ready()
    process.send(signal.SIGTERM)
    wait_until(lambda: "draining" in process.text())
    process.send(signal.SIGTERM)
    assert process.wait() == -signal.SIGTERM


@pytest.mark.parametrize(
    ("source", "line"),
    [
        (
            "class Mod:\n    def load(self):\n        raise OSError('no weights')\n",
            "Mod.load() failed: OSError: no weights",
        ),
        ("class Mod:\n    def load(self):\n        self.weights\n", "Mod.load() failed: AttributeError"),
        ("class Mod:\n    def __init__(self, must):\n        pass\n", "Mod(...) failed: TypeError"),
        (
            "class Bad(Exception):\n    def __str__(self):\n        1 / 0\nclass Mod:\n    def load(self):\n        raise Bad\n",
            "Mod.load() failed: Bad: Bad has no text: its __str__ raises ZeroDivisionError",
        ),
        ("class Mod:\n    model_error_handler = 1\n", "model_error_handler is int, not a Flask blueprint"),
        ("class Other: pass\n", "has no class Mod"),
        ("import nothing_like_this\n", "import of Mod failed: ModuleNotFoundError"),
        ("class Mod:\n    def init_metadata(self):\n        raise ValueError('bad')\n", "init_metadata() failed"),
    ],
)
def test_a_component_that_cannot_be_served_ends_with_one_line(start_process, source, line):
    process = start_process(source)
    assert process.wait() == 1
    said = [text for text in process.text().splitlines() if text]
    assert len(said) == 1, process.text()
    assert said[0].startswith("slipway.microservice: ")
    assert line in said[0]


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        (["--parameters", "[{"], "--parameters"),
        (["--parameters", '[{"name": "a", "value": "x", "type": "INT"}]'], "(a) is not a value of type INT"),
        (["--threads", "many"], "--threads"),
        (["--inline", "--threads", "2"], "--threads 2 cannot be"),
        (["--inline", "--max-batch", "8"], "--max-batch 8 cannot be"),
        (["--inline", "--max-in-flight", "4"], "--max-in-flight 4 has no effect"),
        (["--unknown"], "--unknown"),
    ],
)
def test_wrong_flags_end_with_two(start_process, flags, word):
    process = start_process(ECHO, *flags)
    assert process.wait() == 2
    assert word in process.text()


def test_a_taken_port_is_named(start_process):
    first = start_process(ECHO)
    rest, target, _ = first.ready()
    for flag, taken in (("--http-port", rest), ("--grpc-port", target)):
        second = start_process(ECHO, flag, taken.rpartition(":")[2])
        assert second.wait() == 1
        assert taken in second.text()


def test_load_not_implemented_is_no_error(start_process):
    process = start_process(ECHO + "    def load(self):\n        raise NotImplementedError\n")
    assert ask(process.ready()[0], "/health/ping") == (200, b"pong")


def test_a_nested_class_and_seldons_names(start_process, tmp_path: Path):
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "deep.py").write_text(
        "from seldon_core.user_model import SeldonComponent, SeldonResponse\n"
        "from seldon_core.flask_utils import SeldonMicroserviceException\n"
        "from seldon_core.metrics import create_counter\n"
        "from seldon_core.proto import prediction_pb2\n"
        "import seldon_core.proto.prediction_pb2\n"
        "class Model(SeldonComponent):\n"
        "    def predict(self, X, names):\n"
        "        if X == 'bad': raise SeldonMicroserviceException('no', status_code=403, reason='FORBIDDEN')\n"
        "        return SeldonResponse(X, metrics=[create_counter('n', 1)])\n"
    )
    process = start_process("from pkg.deep import Model as Mod\n")
    rest, _, _ = process.ready()
    assert json.loads(ask(rest, "/predict", {"strData": "x"})[1])["strData"] == "x"
    status, body = ask(rest, "/predict", {"strData": "bad"})
    assert (status, json.loads(body)["status"]["reason"]) == (403, "FORBIDDEN")


@pytest.mark.parametrize(("filter_", "is_logged"), [({}, False), ({"FILTER_METRICS_ACCESS_LOGS": "false"}, True)])
def test_access_log_has_requests_and_those_of_prometheus_only_when_told(start_process, filter_, is_logged):
    process = start_process(ECHO, "--access-log", **filter_)
    rest, _, metrics = process.ready()
    ask(metrics, "/metrics")
    ask(rest, "/predict", {"strData": "x"})
    wait_until(lambda: '"POST /predict HTTP/1.1" 200' in process.text(), what="the line of the request")
    assert ('"GET /metrics HTTP/1.1" 200' in process.text()) is is_logged


def test_pidfile_names_the_process_that_signals_go_to(start_process, tmp_path: Path):
    file = tmp_path / "pid"
    for flags in ([], ["--workers", "2"]):
        process = start_process(ECHO, "--pidfile", str(file), "--drain", "0", *flags)
        process.ready(1 + bool(flags))
        assert int(file.read_text()) == process.process.pid
        process.send(signal.SIGTERM)
        assert process.wait() == 0
        assert not file.exists()
    process = start_process(ECHO, "--pidfile", str(tmp_path / "no" / "such" / "folder"))
    assert process.wait() == 2
    assert "--pidfile: " in process.text()


def test_hangup_starts_the_component_afresh_in_the_same_process(start_process, tmp_path: Path):
    process = start_process(LOADED, "--drain", "0")
    process.ready()
    process.send(signal.SIGHUP)
    rest, _, _ = process.ready(2)
    assert json.loads(ask(rest, "/predict", {"strData": "x"})[1])["jsonData"]["pid"] == process.process.pid
    assert (tmp_path / "loads").read_text() == "load load "
    process.send(signal.SIGTERM)
    assert process.wait() == 0


def test_a_custom_service_runs_beside_the_component(start_process, tmp_path: Path):
    """In the process that serves, where it sees what ``load()`` made."""
    process = start_process(f"{ECHO}{SERVICE}")
    wait_until((tmp_path / "service").exists, timeout_s=20)
    assert (tmp_path / "service").read_text() == f"{process.process.pid} loaded"
    status, body = ask(process.ready()[0], "/predict", {"strData": "x"})
    assert (status, json.loads(body)["jsonData"]) == (200, {"pid": process.process.pid})


def test_the_size_annotation_is_the_grpc_limit(start_process, tmp_path: Path):
    (tmp_path / "annotations").write_text('a="b=c"\nseldon.io/grpc-max-message-size="100"\n')
    process = start_process(ECHO, SLIPWAY_ANNOTATIONS_FILE=str(tmp_path / "annotations"))
    with grpc.insecure_channel(process.ready()[1]) as channel, pytest.raises(grpc.RpcError) as raised:
        stubs.ModelStub(channel).Predict(pb.SeldonMessage(strData="x" * 200), timeout=10)
    assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


HANGING = """
import threading
from slipway.serving import limits
limits.MIN_CALL_S = 0.2
class Mod:
    def predict(self, X, names):
        threading.Event().wait()
"""


@pytest.mark.parametrize("flags", [[], ["--inline"]], ids=["thread", "inline"])
def test_call_that_does_not_end_ends_the_process(start_process, tmp_path: Path, flags: list[str]):
    (tmp_path / "annotations").write_text('seldon.io/rest-timeout="1"\n')
    process = start_process(HANGING, "--grace", "0", *flags, SLIPWAY_ANNOTATIONS_FILE=str(tmp_path / "annotations"))
    with grpc.insecure_channel(process.ready()[1]) as channel, pytest.raises(grpc.RpcError):
        stubs.ModelStub(channel).Predict(pb.SeldonMessage(strData="x"), timeout=20)
    assert process.wait() == 1
    assert "a call into the component has not ended in 0." in process.text()
