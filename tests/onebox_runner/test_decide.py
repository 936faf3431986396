"""Histories of a Pod, replayed without any process."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.onebox.runner.decide import (
    DRAIN_S,
    FAST_PERIOD_S,
    Drain,
    Finish,
    Kill,
    Prepare,
    RunProbe,
    Start,
    StopContainer,
    begun,
    next_actions,
    next_due,
)
from slipway.onebox.runner.observed import (
    BACKOFF_MAX_S,
    BACKOFF_RESET_S,
    Observed,
    exited,
    final_phase,
    hastened,
    is_ready,
    prepared,
    probed,
    restart_delay_s,
    start_failed,
    started,
)
from slipway.onebox.runner.spec import Pod, parse_pod
from tests.onebox_runner.objects import NOW, pod_object

HTTP = {"httpGet": {"path": "/ready", "port": 9000}, "periodSeconds": 5}


def make_pod(**spec: Any) -> Pod:
    return parse_pod(pod_object(spec=spec))


def take(pod: Pod, observed: Observed, now: float) -> tuple[list[Any], Observed]:
    actions = next_actions(pod, observed, now)
    for action in actions:
        observed = begun(observed, action, now)
    return actions, observed


def running(pod: Pod, now: float = NOW) -> Observed:
    """Prepared, init containers done, every container just started."""
    observed = prepared(Observed())
    for container in pod.init_containers:
        observed = exited(
            started(observed, container, now=now, shown_at=now),
            container.name,
            code=0,
            reason="Completed",
            now=now,
            shown_at=now,
        )
    for container in pod.containers:
        observed = started(observed, container, now=now, shown_at=now)
    return observed


def test_a_new_pod_is_prepared_and_then_started() -> None:
    pod = make_pod()
    actions, observed = take(pod, Observed(), NOW)
    assert actions == [Prepare("new Pod")]
    assert next_actions(pod, observed, NOW) == []
    actions, observed = take(pod, prepared(observed), NOW)
    assert actions == [Start("main", "missing")]
    assert next_actions(pod, observed, NOW) == []


def test_init_containers_run_one_after_the_other_before_the_containers() -> None:
    pod = make_pod(initContainers=[{"name": "first", "image": "a:1"}, {"name": "second", "image": "a:1"}])
    observed = prepared(Observed())
    order = []
    for name in ("first", "second", "main"):
        actions, observed = take(pod, observed, NOW)
        order += actions
        observed = started(observed, pod.container(name), now=NOW, shown_at=NOW)
        assert next_actions(pod, observed, NOW) == []
        observed = exited(observed, name, code=0, reason="Completed", now=NOW, shown_at=NOW)
    assert order == [Start("first", "missing"), Start("second", "missing"), Start("main", "missing")]


def test_a_failed_init_container_is_tried_again_after_its_backoff() -> None:
    pod = make_pod(initContainers=[{"name": "fetch", "image": "a:1"}])
    observed = started(prepared(Observed()), pod.container("fetch"), now=NOW, shown_at=NOW)
    observed = exited(observed, "fetch", code=1, reason="Error", now=NOW, shown_at=NOW)
    actions, observed = take(pod, observed, NOW)
    assert actions == [Start("fetch", "ended with 1")]
    observed = exited(
        started(observed, pod.container("fetch"), now=NOW, shown_at=NOW),
        "fetch",
        code=1,
        reason="Error",
        now=NOW,
        shown_at=NOW,
    )
    assert next_actions(pod, observed, NOW + 9) == []
    assert next_actions(pod, observed, NOW + 10) == [Start("fetch", "ended with 1")]


def test_a_failed_init_container_of_a_never_pod_fails_the_pod() -> None:
    pod = make_pod(restartPolicy="Never", initContainers=[{"name": "fetch", "image": "a:1"}])
    observed = started(prepared(Observed()), pod.container("fetch"), now=NOW, shown_at=NOW)
    observed = exited(observed, "fetch", code=1, reason="Error", now=NOW, shown_at=NOW)
    assert next_actions(pod, observed, NOW + 1000) == []
    assert final_phase(pod, observed) == "Failed"


@pytest.mark.parametrize(
    ("policy", "code", "restarts"),
    [("Always", 0, True), ("Always", 1, True), ("OnFailure", 0, False), ("OnFailure", 1, True), ("Never", 1, False)],
)
def test_the_restart_policy_decides_about_an_ended_container(policy: str, code: int, restarts: bool) -> None:
    pod = make_pod(restartPolicy=policy)
    observed = exited(running(pod), "main", code=code, reason="x", now=NOW + 1, shown_at=NOW + 1)
    assert bool(next_actions(pod, observed, NOW + 1)) is restarts


def test_restarts_back_off_and_a_long_run_forgives() -> None:
    assert [restart_delay_s(n) for n in range(1, 9)] == [0, 10, 20, 40, 80, 160, BACKOFF_MAX_S, BACKOFF_MAX_S]
    pod = make_pod()
    observed = exited(running(pod), "main", code=1, reason="Error", now=NOW + 1, shown_at=NOW + 1)
    observed = started(observed, pod.container("main"), now=NOW + 1, shown_at=NOW + 1)
    observed = exited(observed, "main", code=1, reason="Error", now=NOW + 2, shown_at=NOW + 2)
    assert next_due(pod, observed, NOW + 2) == NOW + 12
    observed = started(observed, pod.container("main"), now=NOW + 12, shown_at=NOW + 12)
    observed = exited(
        observed, "main", code=1, reason="Error", now=NOW + 12 + BACKOFF_RESET_S, shown_at=NOW + 12 + BACKOFF_RESET_S
    )
    assert observed.of("main").crashes == 1


def test_an_image_never_built_is_looked_for_again_and_named_like_kubernetes() -> None:
    pod = make_pod()
    observed = start_failed(prepared(Observed()), "main", reason="ErrImagePull", message="m", now=NOW)
    assert observed.of("main").problem == "ErrImagePull"
    assert next_actions(pod, observed, NOW + 0.9) == []
    actions, observed = take(pod, observed, NOW + 1)
    assert actions == [Start("main", "ErrImagePull")]
    observed = start_failed(observed, "main", reason="ErrImagePull", message="m", now=NOW + 1)
    assert observed.of("main").problem == "ImagePullBackOff"
    assert observed.of("main").restarts == 0


def test_readiness_is_tried_fast_until_it_first_succeeds() -> None:
    pod = make_pod(containers=[{"name": "main", "image": "a:1", "readinessProbe": HTTP}])
    observed = running(pod)
    assert not is_ready(pod, observed)
    actions, observed = take(pod, observed, NOW)
    assert actions == [RunProbe("main", "readiness")]
    observed = probed(observed, pod.container("main"), "readiness", is_ok=False)
    assert next_due(pod, observed, NOW) == NOW + FAST_PERIOD_S
    actions, observed = take(pod, observed, NOW + FAST_PERIOD_S)
    observed = probed(observed, pod.container("main"), "readiness", is_ok=True)
    assert is_ready(pod, observed)
    assert next_due(pod, observed, NOW + FAST_PERIOD_S) == NOW + FAST_PERIOD_S + 5


def test_a_ready_container_stays_ready_until_the_failure_threshold() -> None:
    pod = make_pod(containers=[{"name": "main", "image": "a:1", "readinessProbe": {**HTTP, "failureThreshold": 3}}])
    container = pod.container("main")
    observed = probed(running(pod), container, "readiness", is_ok=True)
    seen = []
    for _ in range(3):
        observed = probed(observed, container, "readiness", is_ok=False)
        seen.append(is_ready(pod, observed))
    assert seen == [True, True, False]


def test_other_probes_wait_for_the_startup_probe() -> None:
    probes = {
        "startupProbe": {**HTTP, "periodSeconds": 1, "failureThreshold": 10},
        "readinessProbe": HTTP,
        "livenessProbe": HTTP,
    }
    pod = make_pod(containers=[{"name": "main", "image": "a:1", **probes}])
    actions, observed = take(pod, running(pod), NOW)
    assert actions == [RunProbe("main", "startup")]
    observed = probed(observed, pod.container("main"), "startup", is_ok=True)
    assert {action.kind for action in next_actions(pod, observed, NOW)} == {"readiness", "liveness"}


def test_a_startup_probe_may_fail_for_as_long_as_declared_however_often_it_is_tried() -> None:
    probe = {**HTTP, "periodSeconds": 1, "failureThreshold": 10}
    pod = make_pod(containers=[{"name": "main", "image": "a:1", "startupProbe": probe}])
    observed = running(pod)
    for _ in range(39):
        observed = probed(observed, pod.container("main"), "startup", is_ok=False)
    assert not any(isinstance(action, StopContainer) for action in next_actions(pod, observed, NOW + 9.9))
    assert any(isinstance(action, StopContainer) for action in next_actions(pod, observed, NOW + 10))


def test_a_dead_container_is_stopped_killed_and_restarted() -> None:
    pod = make_pod(
        terminationGracePeriodSeconds=20, containers=[{"name": "main", "image": "a:1", "livenessProbe": HTTP}]
    )
    observed = running(pod)
    for _ in range(3):
        observed = probed(observed, pod.container("main"), "liveness", is_ok=False)
    actions = [action for action in next_actions(pod, observed, NOW) if not isinstance(action, RunProbe)]
    assert actions == [StopContainer("main", 20, "failed its liveness probe")]
    observed = begun(observed, actions[0], NOW)
    assert next_actions(pod, observed, NOW + 19) == []
    actions, observed = take(pod, observed, NOW + 20)
    assert actions == [Kill("main", "did not end within its grace period")]
    assert next_actions(pod, observed, NOW + 60) == []
    observed = exited(observed, "main", code=137, reason="Error", now=NOW + 21, shown_at=NOW + 21)
    assert next_actions(pod, observed, NOW + 21) == [Start("main", "ended with 137")]


def test_a_deleted_pod_leaves_its_services_before_it_gets_term() -> None:
    pod = make_pod(terminationGracePeriodSeconds=5)
    observed = replace(running(pod), stopping="deleted")
    assert not is_ready(pod, observed)
    actions, observed = take(pod, observed, NOW)
    assert actions == [Drain("deleted")]
    assert next_due(pod, observed, NOW) == NOW + DRAIN_S
    assert next_actions(pod, observed, NOW + DRAIN_S / 2) == []
    actions, observed = take(pod, observed, NOW + DRAIN_S)
    assert actions == [StopContainer("main", 5, "deleted")]
    observed = exited(observed, "main", code=143, reason="Error", now=NOW + 1, shown_at=NOW + 1)
    actions, observed = take(pod, observed, NOW + 1)
    assert actions == [Finish("deleted")]
    assert next_actions(pod, observed, NOW + 100) == []


EVENTS = st.lists(
    st.tuples(st.sampled_from(["exit0", "exit1", "ok", "fail", "tick", "stop", "image"]), st.floats(0, 30)), max_size=40
)


@given(events=EVENTS)
def test_any_history_keeps_the_promises(events: list[tuple[str, float]]) -> None:
    """Asked again, no step comes twice; at most one run of a container at a time; once stopping, nothing starts."""
    probes = {"startupProbe": HTTP, "readinessProbe": HTTP, "livenessProbe": HTTP}
    pod = make_pod(
        initContainers=[{"name": "init", "image": "a:1"}],
        containers=[{"name": "main", "image": "a:1", **probes}, {"name": "side", "image": "a:1"}],
    )
    observed, now = Observed(), NOW
    for event, pause in events:
        now += pause
        actions, observed = take(pod, observed, now)
        assert next_actions(pod, observed, now) == []
        for action in actions:
            if isinstance(action, Prepare):
                observed = prepared(observed)
            if isinstance(action, Start):
                assert not observed.stopping
                assert observed.of(action.container).phase == "starting"
                container = pod.container(action.container)
                if container in pod.containers:
                    assert observed.of("init").exit is not None
                if event == "image":
                    observed = start_failed(observed, container.name, reason="ErrImagePull", message="", now=now)
                else:
                    observed = started(observed, container, now=now, shown_at=now)
            if isinstance(action, Kill):
                observed = exited(observed, action.container, code=137, reason="x", now=now, shown_at=now)
            if isinstance(action, RunProbe):
                observed = probed(observed, pod.container("main"), action.kind, is_ok=event == "ok")
        if event.startswith("exit") and observed.alive:
            observed = exited(observed, observed.alive[0], code=int(event[-1]), reason="x", now=now, shown_at=now)
        if event == "stop":
            observed = replace(observed, stopping="deleted")
        if not observed.stopping:
            assert next_due(pod, observed, now) > now
    observed = replace(observed, stopping="deleted")
    for _ in range(6):  # however it went, it can be stopped
        now += 60
        actions, observed = take(pod, observed, now)
        for action in actions:
            if isinstance(action, Kill):
                observed = exited(observed, action.container, code=137, reason="x", now=now, shown_at=now)
    assert observed.is_finished


def test_a_shorter_grace_period_ends_a_stop_earlier_and_a_longer_one_not_later() -> None:
    pod = make_pod(terminationGracePeriodSeconds=40)
    stopping = replace(running(pod), stopping="deleted", drain_until=NOW)
    (stop,), observed = take(pod, stopping, NOW)
    assert stop == StopContainer("main", 40.0, "deleted")
    assert next_due(pod, observed, NOW) == NOW + 40
    observed = hastened(observed, NOW + 5)
    assert next_due(pod, observed, NOW + 1) == NOW + 5
    observed = hastened(observed, NOW + 30)
    assert next_actions(pod, observed, NOW + 4.9) == []
    assert next_actions(pod, observed, NOW + 5) == [Kill("main", "did not end within its grace period")]


def test_a_pod_without_any_grace_is_killed_at_once() -> None:
    pod = make_pod(terminationGracePeriodSeconds=0)
    actions, observed = take(pod, replace(running(pod), stopping="gone"), NOW)
    assert actions == [StopContainer("main", 0.0, "gone")]
    assert next_actions(pod, observed, NOW) == [Kill("main", "did not end within its grace period")]


def test_nothing_is_due_while_a_drained_pod_has_time_to_end() -> None:
    pod = make_pod(terminationGracePeriodSeconds=40)
    observed = replace(running(pod), stopping="deleted")
    for at in (NOW, NOW + DRAIN_S):
        _, observed = take(pod, observed, at)
    assert next_due(pod, observed, NOW + DRAIN_S) == NOW + DRAIN_S + 40, "else its worker would never sleep"
