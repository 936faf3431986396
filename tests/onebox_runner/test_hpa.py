"""The autoscaler's decision: Kubernetes' own cases, then properties over random worlds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.onebox.runner import hpa_limits
from slipway.onebox.runner.hpa import Decision, decide, not_rescaled, rescaled, without_target
from slipway.onebox.runner.hpa_limits import Event, History, limit
from slipway.onebox.runner.hpa_metrics import Unknown, Use, propose
from slipway.onebox.runner.hpa_pods import Source, uses_of
from slipway.onebox.runner.hpa_spec import (
    MAX_METRICS,
    Autoscaler,
    Metric,
    Policy,
    Rules,
    Series,
    Unreadable,
    parse_autoscaler,
)
from slipway.onebox.runner.hpa_status import is_worth_writing, render_status
from slipway.onebox.runner.moments import time_text
from tests.onebox_runner.objects import NOW, pod_object

WAITING = Series("waiting")
BY_CPU = Metric("Resource", 50, is_utilization=True, resource="cpu")
BY_SERIES = Metric("Pods", 2000, series=WAITING)
AT_ONCE = Rules(0, (Policy(True, 1000, 1), Policy(False, 1000, 1)))


def autoscaler(metric: Metric = BY_SERIES, *more: Metric | Unreadable, **changes: Any) -> Autoscaler:
    fields: dict[str, Any] = {"minimum": 1, "maximum": 100, "up": AT_ONCE, "down": AT_ONCE, **changes}
    return Autoscaler(metrics=(metric, *more), **fields)


def pod(
    name: str, *, phase: str = "Running", ready: bool = True, age_s: float = 3600.0, ready_for_s: float | None = None
) -> dict[str, Any]:
    since = NOW - (age_s if ready_for_s is None else ready_for_s)
    condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": time_text(since)}
    container = {"name": "main", "image": "x", "resources": {"requests": {"cpu": "1"}}}
    status = {"phase": phase, "startTime": time_text(NOW - age_s), "conditions": [condition]}
    return pod_object(name, spec={"containers": [container]}, status=status)


def cpu(uses: dict[str, int]) -> dict[Source, Use]:
    return {Source(f"uid-{name}", "main", "cpu"): Use(milli, 0.0, 15.0) for name, milli in uses.items()}


def waiting(uses: dict[str, int]) -> dict[Source, Use]:
    return {Source(f"uid-{name}", "main", WAITING): Use(milli, 0.0, 15.0) for name, milli in uses.items()}


def wanted(metric: Metric, pods: Sequence[dict[str, Any]], measured: dict[Source, Use], replicas: int) -> int:
    return propose(metric, uses_of(metric, pods, measured, NOW), replicas, up=AT_ONCE, down=AT_ONCE).replicas


# -- one metric


@pytest.mark.parametrize(
    ("used", "expected"),
    [
        ([300, 500, 700], 3),  # 50 % of 1 CPU each: exactly the target
        ([500, 500, 650], 3),  # 55 %: inside the tolerance
        ([500, 500, 680], 4),  # 56 %: ceil(3 * 1.12)
        ([900, 900, 900], 6),
        ([100, 100, 100], 1),
        ([460, 460, 460], 3),  # 46 %: inside the tolerance
        ([0, 0, 0], 0),
    ],
)
def test_replicas_are_current_times_ratio_outside_the_tolerance(used: list[int], expected: int):
    names = [f"p{index}" for index in range(3)]
    assert wanted(BY_CPU, [pod(name) for name in names], cpu(dict(zip(names, used, strict=True))), 3) == expected


def test_a_pod_without_a_metric_uses_nothing_when_others_ask_for_more():
    pods = [pod("a"), pod("b")]
    assert wanted(BY_SERIES, pods, waiting({"a": 8000}), 2) == 4  # (8 + 0) / 2 = 4 per Pod
    assert wanted(BY_SERIES, pods, waiting({"a": 3000}), 2) == 2  # with it there would be less to do than now


def test_a_pod_without_a_metric_is_busy_when_others_ask_for_less():
    pods = [pod("a"), pod("b"), pod("c")]
    assert wanted(BY_SERIES, pods, waiting({"a": 0, "b": 0}), 3) == 1  # c counts as the target
    assert wanted(BY_CPU, pods, cpu({"a": 100, "b": 100}), 3) == 3  # c counts as all it requests: 40 %, ceil(2.4)
    high = Metric("Resource", 200, is_utilization=True, resource="cpu")
    assert wanted(high, pods, cpu({"a": 100, "b": 100}), 3) == 2  # and as the target where that is above 100 %: 73 %


def test_pods_that_start_count_as_idle_when_there_is_more_to_do_and_else_not_at_all():
    starting = pod("b", ready=False, age_s=20)
    assert wanted(BY_CPU, [pod("a"), starting], cpu({"a": 900, "b": 900}), 2) == 2  # 45 % of two
    assert wanted(BY_CPU, [pod("a"), starting], cpu({"a": 100, "b": 900}), 2) == 1
    assert wanted(BY_SERIES, [pod("a"), pod("b", phase="Pending")], waiting({"a": 9000}), 2) == 5


@pytest.mark.parametrize(
    ("changes", "counts"),
    [
        ({"age_s": 100, "ready_for_s": 5}, False),  # measured over the time before it was ready
        ({"age_s": 100, "ready_for_s": 50}, True),
        ({"age_s": 100, "ready_for_s": 50, "ready": False}, False),
        ({"age_s": 1000, "ready_for_s": 5}, True),
        ({"age_s": -1000, "ready_for_s": -1000}, True),  # the clock was set back: it was a while ago
        ({"age_s": -1000, "ready_for_s": -1000, "ready": False}, False),
        ({"age_s": 1000, "ready_for_s": 990, "ready": False}, False),  # was never ready
        ({"age_s": 1000, "ready_for_s": 500, "ready": False}, True),  # ready once: it works, or should
    ],
)
def test_processor_of_a_pod_s_start_is_not_counted(changes: dict[str, Any], counts: bool):
    (use,) = uses_of(BY_CPU, [pod("a", **changes)], cpu({"a": 100}), NOW)
    assert (use.group == "counted") is counts


def test_pods_that_end_are_nobody_s():
    going = pod("b")
    going["metadata"]["deletionTimestamp"] = time_text(NOW)
    pods = [pod("a"), going, pod("c", phase="Failed")]
    assert wanted(BY_SERIES, pods, waiting({"a": 4000, "b": 90_000}), 1) == 2


def test_a_series_of_several_containers_counts_once():
    measured = {Source("uid-a", name, WAITING): Use(milli, 0.0, 15.0) for name, milli in (("x", 3000), ("y", 5000))}
    (use,) = uses_of(BY_SERIES, [pod("a")], measured, NOW)
    assert use.milli == 5000


def test_processor_is_the_sum_of_the_containers_or_that_of_one():
    both = pod("a")
    both["spec"]["containers"].append({"name": "side", "resources": {"limits": {"cpu": "500m"}}})
    measured = cpu({"a": 300}) | {Source("uid-a", "side", "cpu"): Use(150, 0.0, 15.0)}
    (whole,) = uses_of(BY_CPU, [both], measured, NOW)
    assert (whole.milli, whole.request) == (450, 1500)
    of_side = Metric("ContainerResource", 50, is_utilization=True, resource="cpu", container="side")
    (side,) = uses_of(of_side, [both], measured, NOW)
    assert (side.milli, side.request) == (150, 500)
    assert uses_of(BY_CPU, [both], cpu({"a": 300}), NOW)[0].group == "missing"


@pytest.mark.parametrize(
    ("pods", "message"),
    [
        ([], "no pods returned by selector"),
        ([pod("a")], "did not receive metrics for targeted pods"),
        ([pod_object("a", status={"phase": "Running"})], "missing request for cpu in container main of Pod a"),
    ],
)
def test_what_cannot_be_computed_says_why(pods: list[dict[str, Any]], message: str):
    with pytest.raises(Unknown, match=message):
        wanted(BY_CPU, pods, {}, 1)


# -- how fast


def rates(**changes: Any) -> Autoscaler:
    return autoscaler(**{"up": Rules(0, (Policy(False, 4, 15), Policy(True, 100, 15))), "down": AT_ONCE, **changes})


@pytest.mark.parametrize(("replicas", "expected"), [(1, 5), (4, 8), (10, 20)])
def test_by_default_replicas_grow_by_four_or_double_in_15_s(replicas: int, expected: int):
    found = limit(rates(), History(), replicas, 90, NOW)
    assert (found.replicas, found.limited[0], found.is_limited) == (expected, "ScaleUpLimit", True)


def test_a_policy_counts_what_was_added_in_its_period():
    history = History(added=(Event(NOW - 10, 3),))
    assert limit(rates(), history, 4, 90, NOW).replicas == 5  # four more than the one of 15 s ago
    assert limit(rates(), history, 4, 90, NOW + 6).replicas == 8


def test_the_smallest_change_or_none_may_be_chosen():
    policies = (Policy(False, 1, 60), Policy(True, 50, 60))
    down = {chosen: rates(down=Rules(0, policies, chosen)) for chosen in ("Max", "Min", "Disabled")}
    assert [limit(down[chosen], History(), 8, 1, NOW).replicas for chosen in down] == [4, 7, 8]
    up = {chosen: rates(up=Rules(0, policies, chosen)) for chosen in ("Max", "Min", "Disabled")}
    assert [limit(up[chosen], History(), 8, 99, NOW).replicas for chosen in up] == [12, 9, 8]


def test_fewer_replicas_wait_for_the_window_and_more_do_not():
    spec = autoscaler(up=AT_ONCE, down=Rules(300, AT_ONCE.policies))
    history = History(recommended=(Event(NOW - 299, 7), Event(NOW - 100, 5)))
    found = limit(spec, history, 8, 2, NOW)
    assert (found.replicas, found.stabilized[0]) == (7, "ScaleDownStabilized")
    assert limit(spec, history, 8, 2, NOW + 2).replicas == 5
    assert limit(spec, history, 8, 9, NOW).replicas == 9
    careful = autoscaler(up=Rules(60, AT_ONCE.policies))
    found = limit(careful, History(recommended=(Event(NOW - 30, 5),)), 4, 9, NOW)
    assert (found.replicas, found.stabilized[0]) == (5, "ScaleUpStabilized")


def test_bounds_are_a_condition():
    spec = autoscaler(minimum=2, maximum=5)
    assert limit(spec, History(), 4, 50, NOW).limited[0] == "TooManyReplicas"
    assert limit(spec, History(), 4, 0, NOW) == hpa_limits.Limited(2, hpa_limits.READY, hpa_limits.TOO_FEW, True)


# -- the whole decision


def decided(spec: Autoscaler, replicas: int, uses: dict[str, int], history: History | None = None) -> Decision:
    pods = [pod(f"p{index}") for index in range(max(replicas, len(uses)))]
    measured = waiting(uses)
    return decide(
        spec, replicas=replicas, pods=pods, measured=measured, history=history or History(), now=NOW, pods_now=NOW
    )


def test_the_metric_that_asks_for_most_counts():
    other = Metric("Pods", 500, series=Series("other"))
    measured = waiting({"p0": 2000}) | {Source("uid-p0", "main", other.series): Use(1500, 0.0, 15.0)}
    spec = autoscaler(BY_SERIES, other)
    found = decide(spec, replicas=1, pods=[pod("p0")], measured=measured, history=History(), now=NOW, pods_now=NOW)
    assert (found.replicas, found.reason) == (3, "pods metric other above target")


def test_a_metric_that_cannot_be_read_only_keeps_replicas_from_falling():
    spec = autoscaler(BY_SERIES, Unreadable("FailedGetExternalMetric", "no metrics API"))
    more, fewer = decided(spec, 2, {"p0": 8000, "p1": 8000}), decided(spec, 2, {"p0": 0, "p1": 0})
    assert (more.replicas, [item.reason for item in more.complaints]) == (8, ["FailedGetExternalMetric"])
    assert fewer.replicas is None
    assert fewer.conditions["ScalingActive"].reason == "FailedGetExternalMetric"
    assert "1 invalid out of 2" in fewer.complaints[-1].message


def test_a_target_with_no_replicas_is_left_alone():
    found = decided(autoscaler(), 0, {})
    assert (found.replicas, found.conditions["ScalingActive"].reason) == (0, "ScalingDisabled")


@pytest.mark.parametrize(("replicas", "expected"), [(9, 5), (1, 2)])
def test_replicas_outside_the_bounds_are_brought_back_without_a_metric(replicas: int, expected: int):
    assert decided(autoscaler(minimum=2, maximum=5), replicas, {}).replicas == expected


def test_the_first_number_counts_as_recommended_so_that_a_restart_takes_nothing_away():
    spec = autoscaler(down=Rules(300, AT_ONCE.policies))
    assert decided(spec, 3, {"p0": 0, "p1": 0, "p2": 0}).replicas == 3


def test_status_has_conditions_metrics_and_times_that_stay():
    spec = autoscaler(BY_CPU)
    measured = cpu({"p0": 900})
    found = decide(spec, replicas=1, pods=[pod("p0")], measured=measured, history=History(), now=NOW, pods_now=NOW)
    status = render_status({}, spec, found, replicas=1, is_rescaled=True, now=NOW)
    assert (status["currentReplicas"], status["desiredReplicas"], status["lastScaleTime"]) == (1, 2, time_text(NOW))
    current = {"averageValue": "900m", "averageUtilization": 90}
    assert status["currentMetrics"] == [{"type": "Resource", "resource": {"name": "cpu", "current": current}}]
    assert [item["type"] for item in status["conditions"]] == ["AbleToScale", "ScalingActive", "ScalingLimited"]
    later = render_status(status, spec, found, replicas=1, is_rescaled=False, now=NOW + 60)
    assert later["conditions"] == status["conditions"]
    assert not is_worth_writing(status, later, age_s=999)
    other = {**later, "currentMetrics": []}
    assert not is_worth_writing(status, other, age_s=1)
    assert is_worth_writing(status, other, age_s=15)


def test_a_refused_change_and_a_missing_target_are_conditions():
    refused = not_rescaled(decided(autoscaler(), 1, {"p0": 8000}), "no")
    assert (refused.replicas, refused.conditions["AbleToScale"].reason) == (None, "FailedUpdateScale")
    assert without_target("gone").conditions["AbleToScale"].reason == "FailedGetScale"


# -- what an object says


def parsed(**spec: Any) -> Autoscaler:
    return parse_autoscaler({"spec": {"maxReplicas": 3, **spec}})


def test_defaults_are_kubernetes():
    spec = parsed()
    assert (spec.minimum, spec.maximum) == (1, 3)
    assert spec.up == Rules(0, (Policy(False, 4, 15), Policy(True, 100, 15)))
    assert spec.down == Rules(300, (Policy(True, 100, 15),))


def test_behaviour_and_metrics_are_read():
    down = {"stabilizationWindowSeconds": 7, "selectPolicy": "Min", "tolerance": "50m", "policies": [{"type": "Pods", "value": 1, "periodSeconds": 9}]}  # fmt: skip
    selector = {"matchLabels": {"model_name": "yolo"}}
    metrics = [
        {"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}},
        {"type": "Pods", "pods": {"metric": {"name": "q", "selector": selector}, "target": {"averageValue": "50m"}}},
        {"type": "External", "external": {}},
        {"type": "Resource", "resource": {"name": "nvidia.com/gpu", "target": {"averageValue": "1"}}},
    ]
    spec = parsed(behavior={"scaleDown": down}, metrics=metrics)
    assert spec.down == Rules(7, (Policy(False, 1, 9),), "Min", 0.05)
    memory, series, *unread = spec.metrics
    assert memory == Metric("Resource", (1 << 30) * 1000, resource="memory")
    assert series == Metric("Pods", 50, series=Series("q", (("model_name", "yolo"),)))
    assert [item.failure for item in unread if isinstance(item, Unreadable)] == [
        "FailedGetExternalMetric",
        "FailedGetResourceMetric",
    ]
    assert (spec.series, spec.resources) == (frozenset({Series("q", (("model_name", "yolo"),))}), frozenset({"memory"}))


@pytest.mark.parametrize("kind", ["Object", "External"])
def test_a_metric_that_needs_an_adapter_is_named_where_kubectl_describe_shows_it(kind: str):
    metric = {"name": "messages-waiting"}
    source = {"metric": metric, "target": {"type": "Value", "value": "30"}, "describedObject": {"name": "main-queue"}}
    found = decided(parsed(metrics=[{"type": kind, kind.lower(): source}]), 2, {"p0": 0, "p1": 0})
    active = found.conditions["ScalingActive"]
    assert (found.replicas, active.is_true, active.reason) == (None, False, f"FailedGet{kind}Metric")
    assert f"{kind.lower()} metric messages-waiting: no metrics adapter is on one machine" in active.message
    assert [item.reason for item in found.complaints] == [f"FailedGet{kind}Metric", "FailedComputeMetricsReplicas"]


def test_metrics_beyond_the_bound_are_not_measured():
    spec = parsed(metrics=[{"type": "Resource", "resource": {"name": "cpu", "target": {"averageValue": "1"}}}] * 40)
    assert [isinstance(item, Unreadable) for item in spec.metrics] == [False] * MAX_METRICS + [True] * 8


# -- properties

quick = settings(deadline=None, max_examples=60)
counts = st.integers(1, 12)
policies = st.lists(st.builds(Policy, st.booleans(), st.integers(1, 200), st.integers(1, 60)), min_size=1, max_size=3)
rules = st.builds(
    Rules, st.integers(0, 60), policies.map(tuple), st.sampled_from(["Max", "Min", "Disabled"]), st.just(0.1)
)
loads = st.lists(st.integers(0, 60_000), min_size=1, max_size=60)


@st.composite
def autoscalers(draw: st.DrawFn) -> Autoscaler:
    minimum = draw(counts)
    return autoscaler(minimum=minimum, maximum=minimum + draw(counts), up=draw(rules), down=draw(rules))


def simulated(spec: Autoscaler, replicas: int, load: Sequence[int], *, step_s: float = 5.0) -> list[tuple[float, int]]:
    """(time, replicas) where ``load`` requests wait at each look, shared by the Pods that there are."""
    history, now, seen = History(), NOW, []
    for total in load:
        pods = [pod(f"p{index}") for index in range(replicas)]
        measured = waiting({f"p{index}": total // max(replicas, 1) for index in range(replicas)})
        found = decide(spec, replicas=replicas, pods=pods, measured=measured, history=history, now=now, pods_now=now)
        history = found.history
        if found.replicas is not None and found.replicas != replicas:
            history = rescaled(found, spec, old=replicas, now=now).history
            replicas = found.replicas
        seen.append((now, replicas))
        now += step_s
    return seen


@quick
@given(autoscalers(), counts, loads)
def test_replicas_never_leave_the_bounds(spec: Autoscaler, replicas: int, load: list[int]):
    for _, count in simulated(spec, replicas, load):
        assert spec.minimum <= count <= spec.maximum


@quick
@given(autoscalers(), st.data(), st.integers(0, 60_000), st.integers(0, 60_000))
def test_more_load_never_asks_for_fewer_replicas(spec: Autoscaler, data: st.DataObject, one: int, other: int):
    replicas = data.draw(st.integers(spec.minimum, spec.maximum))
    less, more = (decided(spec, replicas, {f"p{i}": load for i in range(replicas)}).replicas for load in sorted((one, other)))  # fmt: skip
    assert less is not None
    assert more is not None
    assert less <= more


@quick
@given(autoscalers(), loads)
def test_policies_hold_in_every_period(spec: Autoscaler, load: list[int]):
    """In no period do replicas grow by more than the largest that a policy allows from where the period began."""
    seen = [(NOW - 5.0, spec.minimum), *simulated(spec, spec.minimum, load)]
    for index, (now, count) in enumerate(seen[1:], start=1):
        before = seen[index - 1][1]
        if count <= before or spec.up.select == "Disabled":
            assert count <= before
            continue
        allowed = []
        for policy in spec.up.policies:
            start = next(replicas for at, replicas in reversed(seen[:index]) if at <= now - policy.period_s or at < NOW)
            allowed.append(-(-start * (100 + policy.value) // 100) if policy.is_percent else start + policy.value)
        assert count <= (max(allowed) if spec.up.select == "Max" else min(allowed))


@quick
@given(autoscalers(), counts, st.integers(0, 60_000))
def test_constant_load_never_turns_replicas_back(spec: Autoscaler, replicas: int, total: int):
    inside = max(spec.minimum, min(replicas, spec.maximum))
    seen = [inside, *(count for _, count in simulated(spec, inside, [total] * 40))]
    assert seen in (sorted(seen), sorted(seen, reverse=True))


@quick
@given(counts, st.floats(0.9, 1.1, exclude_min=True, exclude_max=True), loads)
def test_nothing_moves_inside_the_tolerance(replicas: int, ratio: float, load: list[int]):
    spec = autoscaler()
    each = round(2000 * ratio)
    uses = {f"p{index}": max(1801, min(2199, each)) for index in range(replicas)}
    assert decided(spec, replicas, uses).replicas == replicas


@quick
@given(autoscalers(), counts, loads)
def test_memory_of_the_past_is_bounded(spec: Autoscaler, replicas: int, load: list[int]):
    history, now = History(), NOW
    for total in load * 3:
        history = decide(spec, replicas=spec.minimum, pods=[pod("p0")], measured=waiting({"p0": total}), history=history, now=now, pods_now=now).history  # fmt: skip
        now += 5
    longest_s = max(spec.up.window_s, spec.down.window_s, hpa_limits.SHORTEST_HISTORY_S)
    assert (
        len(history.recommended) <= longest_s / 5 + 2
    )  # the first look counts twice: what was there, and what is asked for
