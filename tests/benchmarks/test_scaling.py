"""The scaling benchmark's own pieces: what it applies, reads from Locust, complains about and draws."""

from __future__ import annotations

import ast

import pytest

from benchmarks import scaling
from benchmarks.scaling_plot import draw
from slipway.contract.admission import review
from slipway.contract.predictor_servers import SHIPPED
from slipway.contract.sdep import SeldonDeployment
from slipway.controller.desired import desired
from slipway.controller.facts import Facts
from slipway.kube.errors import NotFound
from slipway.onebox.runner.hpa_spec import Series, parse_autoscaler
from tests.data import REPOSITORY

HISTORY = """\
Timestamp,User Count,Type,Name,Requests/s,Failures/s,50%,95%,Total Request Count,Total Failure Count
1000,0,,Aggregated,0.000000,0.000000,N/A,N/A,0,0
1010,25,POST,/seldon,20.5,0,80,160,200,1
1010,25,,Aggregated,20.5,0,80,160,200,1
"""
TOTALS = "Type,Name,Request Count,Failure Count\nPOST,/seldon,200,1\n,Aggregated,200,1\n"


def run(*ready: int, failures: int = 0) -> dict:
    moments = scaling.read_history(HISTORY, 1000.0)
    return {
        "machine": {"cpu": "a processor", "cores": 2, "load": 0.1, "python": "3.11", "commit": "0"},
        "load_after": 0.1,
        "steps": "5,25",
        "step_s": 10.0,
        "replicas": [{"at_s": float(at), "wanted": count, "ready": count} for at, count in enumerate(ready)],
        "load": [vars(one) for one in moments],
        "requests": 200,
        "failures": failures,
        "reasons": ["POST,/seldon,503,1"] if failures else [],
    }


def test_manifest_is_accepted_and_scaled_by_the_wait_for_the_detector():
    manifest = scaling.manifest("models:/coco/1", "320x320", 4)
    assert review(manifest, predictor_servers=SHIPPED) == []
    made = desired(SeldonDeployment.from_json(manifest), Facts())
    (scaler,) = (item for item in made if item["kind"] == "HorizontalPodAutoscaler")
    (metric,) = parse_autoscaler({**scaler, "spec": {**scaler["spec"], "behavior": scaling.BEHAVIOR}}).metrics
    assert metric.series == Series("slipway_queue_seconds", (("model_name", "yolo-detector"),))
    assert metric.target == 50


def test_locusts_sums_are_read():
    assert scaling.read_history(HISTORY, 1000.0) == [
        scaling.Moment(0.0, 0, 0.0, 0.0, 0.0, 0),
        scaling.Moment(10.0, 25, 20.5, 80.0, 160.0, 1),
    ]
    assert scaling.read_totals(TOTALS) == (200, 1)


@pytest.mark.parametrize(
    ("results", "words"),
    [
        (run(1, 2, 3, 1), []),
        (run(1, 2, 3, 1, failures=1), ["1 of 200 requests failed"]),
        (run(1, 1), ["did not rise"]),
        (run(1, 2, 2), ["did not come down"]),
        ({**run(1, 2, 1), "requests": 0}, ["0 of 0 requests"]),
        ({**run(1, 2, 1), "load": []}, ["no history"]),
    ],
)
def test_run_that_does_not_show_it_is_a_failure(results, words):
    found = scaling.complaints(results)
    assert len(found) == len(words)
    assert all(word in sentence for word, sentence in zip(words, found, strict=True))


def test_table_has_a_line_for_each_step():
    text = scaling.render(run(1, 2, 3, 1), [])
    assert "| 25 | 20.5 | 80 | 160 | 1 |" in text
    assert text.endswith("200 requests, 0 failed; replicas 1 → 3 → 1.")


def test_table_and_picture_of_a_run_without_a_history_say_so(tmp_path):
    results = {**run(1, 2, 1), "load": []}
    assert "| 25 | nan | nan | nan | 1 |" in scaling.render(results, [])
    draw(results, tmp_path / "scaling.png")


async def test_next_run_waits_until_the_namespace_of_the_last_one_is_gone(monkeypatch):
    monkeypatch.setattr(scaling, "SAMPLE_S", 0.0)
    asked = []

    class Kube:
        """The namespace goes after two looks; nothing may be applied before."""

        async def get(self, kind, name):
            asked.append(f"get {kind.kind} {name}")
            if len(asked) == 3:
                raise NotFound({"code": 404, "reason": "NotFound"})
            return {"metadata": {"deletionTimestamp": "2027-01-01T00:00:00Z"}}

        async def apply(self, obj, **_):
            asked.append(f"apply {obj['kind']}")
            raise ConnectionError

    with pytest.raises(ConnectionError):
        await scaling._install(Kube(), scaling.parse([]))
    assert asked == ["get Namespace slipway-scaling"] * 3 + ["apply Namespace"]


def test_picture_is_drawn(tmp_path):
    draw(run(1, 2, 3, 1), tmp_path / "scaling.png")
    assert (tmp_path / "scaling.png").read_bytes().startswith(b"\x89PNG")


def test_locustfile_asks_as_the_benchmark_expects():
    """Locust lives in an environment of its own: its file is read, not imported."""
    tree = ast.parse((REPOSITORY / "benchmarks" / "locustfile.py").read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    flags = {call.args[0].value for call in calls if call.func.attr == "add_argument"}
    arguments = scaling.locust_argv(
        "locust", scaling.parse(["--steps", "1,2"]), "http://gateway", REPOSITORY, REPOSITORY
    )
    assert flags <= {*arguments}
