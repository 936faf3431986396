from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from slipway.microservice.custom_metrics import BUCKETS_S, CustomMetrics, base_labels, split_image
from slipway.microservice.settings import Identity
from slipway.microservice.workers import join_expositions

IDENTITY = Identity("unit", "host:5000/img:2", "dep", "pred", "v1")


def _text(metrics: CustomMetrics) -> str:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(metrics)
    return generate_latest(registry).decode()


def _samples(metrics: CustomMetrics) -> dict[tuple[str, ...], float]:
    families = text_string_to_metric_families(_text(metrics))
    wanted = ("method", "le", "tag")
    return {
        (sample.name, *(sample.labels[name] for name in wanted if name in sample.labels)): sample.value
        for family in families
        for sample in family.samples
    }


def test_counters_add_up_and_gauges_overwrite():
    metrics = CustomMetrics(IDENTITY)
    for value in (1, 2.5):
        metrics.update(
            [{"type": "COUNTER", "key": "c", "value": value}, {"type": "GAUGE", "key": "g", "value": value}], "predict"
        )
    samples = _samples(metrics)
    assert samples["c_total", "predict"] == 3.5
    assert samples["g", "predict"] == 2.5


def test_timers_are_seconds_in_cumulative_buckets():
    metrics = CustomMetrics(IDENTITY)
    for value_ms in (0.5, 20.2, 60_000):
        metrics.update([{"type": "TIMER", "key": "t", "value": value_ms}], "router")
    samples = _samples(metrics)
    edges = sorted((float(key[2]), value) for key, value in samples.items() if key[0] == "t_bucket")
    assert len(edges) == 51
    assert [value for _, value in edges] == [sum(ms / 1000 <= edge for ms in (0.5, 20.2, 60_000)) for edge, _ in edges]
    assert samples["t_count", "router"] == 3
    assert samples["t_sum", "router"] == pytest.approx(60.0207)
    assert BUCKETS_S[0] == pytest.approx(0.001)
    assert BUCKETS_S[-1] == pytest.approx(30)


def test_tag_sets_and_methods_are_series_of_their_own_under_one_head():
    metrics = CustomMetrics(IDENTITY)
    for tag in ("a", "b", "a"):
        metrics.update([{"type": "COUNTER", "key": "c", "value": 1, "tags": {"tag": tag}}], "predict")
    metrics.update([{"type": "COUNTER", "key": "c", "value": 1}], "feedback")
    samples = _samples(metrics)
    assert samples["c_total", "predict", "a"] == 2
    assert samples["c_total", "predict", "b"] == 1
    assert samples["c_total", "feedback"] == 1
    assert _text(metrics).count("# TYPE c_total counter") == 1


def test_a_key_that_ends_in_total_is_not_doubled():
    metrics = CustomMetrics(IDENTITY)
    metrics.update([{"type": "COUNTER", "key": "c_total", "value": 1}], "predict")
    assert _samples(metrics)["c_total", "predict"] == 1


def test_series_are_bounded_and_losses_counted():
    metrics = CustomMetrics(IDENTITY, max_series=3)
    for number in range(10):
        metrics.update([{"type": "GAUGE", "key": "g", "value": 1, "tags": {"tag": str(number)}}], "predict")
    samples = _samples(metrics)
    assert sum(key[0] == "g" for key in samples) == 3
    assert samples["slipway_metric_series_dropped_total",] == 7


def test_value_that_has_no_utf8_form_is_escaped_in_every_label():
    identity = Identity("unit", "", "dep", "\udcff", "v1")  # as the environment's bytes come
    metrics = CustomMetrics(identity)
    metrics.update([{"type": "GAUGE", "key": "g", "value": 1, "tags": {"tag": "x\udc80"}}], "predict")
    text = _text(metrics)
    assert 'tag="x\\\\udc80"' in text
    assert 'predictor_name="\\\\udcff"' in text


COLLISIONS = [
    ([("COUNTER", "g"), ("GAUGE", "g_total")], ["g_total"]),
    ([("GAUGE", "t"), ("TIMER", "t")], ["t"]),
    ([("TIMER", "t"), ("GAUGE", "t_count"), ("COUNTER", "t")], ["t_count", "t_sum", "t_total"]),
    ([("GAUGE", "t_sum"), ("TIMER", "t"), ("GAUGE", "t")], ["t_sum", "t"]),
    ([("GAUGE", "slipway_in_flight"), ("TIMER", "slipway_queue_seconds")], []),
    ([("GAUGE", "slipway_metric_series_dropped_total")], []),
]


@pytest.mark.parametrize(("updates", "shown"), COLLISIONS)
def test_samples_of_one_name_belong_to_one_metric(
    updates: list[tuple[str, str]], shown: list[str], caplog: pytest.LogCaptureFixture
):
    metrics = CustomMetrics(IDENTITY)
    for _ in range(3):
        metrics.update([{"type": kind, "key": key, "value": 1} for kind, key in updates], "predict")
    names = {key[0] for key in _samples(metrics)} - {"t_bucket"}
    assert names == {
        *shown,
        *({"t_count", "t_sum"} if "t_count" in shown else ()),
        "slipway_metric_series_dropped_total",
    }
    told = [record for record in caplog.records if "is not shown" in record.message]
    assert len(told) == len({record.message for record in told}) >= 1
    assert _text(metrics).count("# TYPE t ") <= 1


def test_tags_named_as_our_labels_make_no_second_series(caplog: pytest.LogCaptureFixture):
    metrics = CustomMetrics(IDENTITY)
    for number in range(4):
        tags = {"model_name": f"m{number}", "method": "x", "le": str(number), "own": "kept"}
        metrics.update([{"type": "COUNTER", "key": "calls", "value": 1, "tags": tags | {"le": "1"}}], "predict")
        metrics.update([{"type": "TIMER", "key": "took", "value": 5, "tags": tags}], "predict")
    lines = [line.rpartition(" ")[0] for line in _text(metrics).splitlines() if not line.startswith("#")]
    assert len(lines) == len(set(lines))
    counted = [line for line in _text(metrics).splitlines() if line.startswith(("calls_total{", "took_count{"))]
    assert [line.rpartition(" ")[2] for line in counted] == ["4.0", "4.0"]
    assert all('model_name="unit"' in line and 'own="kept"' in line for line in counted)
    assert "metric took: its tag le is a label of ours, and is left out" in caplog.text
    assert caplog.text.count("its tag model_name") == 2


def test_base_labels_name_the_component():
    labels = base_labels(IDENTITY, "1")
    assert labels["model_name"] == "unit"
    assert (labels["model_image"], labels["model_version"]) == ("host:5000/img", "2")
    assert (labels["seldon_deployment_name"], labels["worker_id"]) == ("dep", "1")
    nothing = base_labels(Identity("", "", "NOT_IMPLEMENTED", "NOT_IMPLEMENTED", "NOT_IMPLEMENTED"), "0")
    assert {value for key, value in nothing.items() if key != "worker_id"} == {"NOT_IMPLEMENTED"}
    assert split_image("untagged") == ("", "untagged")


def test_reward_is_counted_only_when_there_is_one():
    metrics = CustomMetrics(IDENTITY)
    for reward in (0.0, 2.0, -0.5):
        metrics.update_reward(reward)
    samples = _samples(metrics)
    assert samples["seldon_api_model_feedback_total", "feedback"] == 2
    assert samples["seldon_api_model_feedback_reward_total", "feedback"] == 1.5


def test_expositions_of_workers_join_to_one():
    texts = []
    for worker in ("0", "1"):
        metrics = CustomMetrics(IDENTITY, worker=worker)
        metrics.update([{"type": "COUNTER", "key": "c", "value": 1}], "predict")
        texts.append(_text(metrics))
    joined = join_expositions([*texts, ""])
    families = {family.name: family for family in text_string_to_metric_families(joined)}
    assert {sample.labels["worker_id"] for sample in families["c"].samples} == {"0", "1"}
    assert joined.count("# HELP c_total") == 1
