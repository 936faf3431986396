"""Routers whose state is a row of a real PostgreSQL: replicas, outages, other states."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing

import psycopg2
import pytest

from model_wrappers.errors import ComponentError
from model_wrappers.routers import EpsilonGreedyRouter, ThompsonRouter
from model_wrappers.routers.arms import Arm, rewarded, unknown
from model_wrappers.routers.postgres import PostgresState
from tests.data import REPOSITORY
from tests.model_wrappers.postgres_server import PostgresServer
from tests.waiting import wait_until

REFRESH_S = 0.05


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(autouse=True)
def dsn(server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("ROUTER_STATE_DSN", server.dsn)
    return server.dsn


@pytest.fixture
def key(request: pytest.FixtureRequest) -> str:
    return str(request.node.name)


def started(dsn: str, key: str, *, branches: int = 3, decay: float = 1.0) -> PostgresState:
    state = PostgresState(dsn, key, branches, decay=decay, refresh_s=REFRESH_S)
    state.start()
    return state


def test_two_replicas_agree_to_the_exact_counts_under_concurrent_feedback(key: str) -> None:
    """Eight threads over two replicas; 400 feedbacks, rewards that doubles add exactly."""
    feedbacks = [(random.Random(one).randrange(3), random.Random(-one).choice([0.0, 0.25, 1.0])) for one in range(400)]
    routers = [ThompsonRouter(3, state="postgres", state_key=key) for _ in range(2)]
    for router in routers:
        router.load()
    try:

        def give(part: int) -> None:
            for branch, reward in feedbacks[part::8]:
                routers[part % 2].send_feedback(None, [], reward, None, routing=branch)

        threads = [threading.Thread(target=give, args=(part,)) for part in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        expected = tuple(
            Arm(len(mine), float(len(mine)), sum(mine))
            for mine in ([reward for branch, reward in feedbacks if branch == place] for place in range(3))
        )
        wait_until(lambda: all(router.arms == expected for router in routers), what="both replicas know all feedback")
    finally:
        for router in routers:
            router.close()


REPLICA = """
import sys
from model_wrappers.routers.postgres import PostgresState
state = PostgresState(sys.argv[1], sys.argv[2], 2, decay=1.0)
state.start()
for count in range(int(sys.argv[3])):
    state.reward(count % 2, 1.0)
state.close()
"""


def test_two_processes_that_start_at_once_lose_no_feedback(dsn: str, key: str) -> None:
    argv = [sys.executable, "-c", REPLICA, dsn, key, "300"]
    replicas = [subprocess.Popen(argv, cwd=REPOSITORY) for _ in range(2)]
    assert [replica.wait(50) for replica in replicas] == [0, 0]
    with closing(started(dsn, key, branches=2)) as state:
        assert state.arms == (Arm(300, 300.0, 300.0),) * 2


def test_row_forgets_as_the_values_do(dsn: str, key: str) -> None:
    """The UPDATE beside the pure function."""
    world, expected = random.Random(1), unknown(3)
    with closing(started(dsn, key, decay=0.9)) as state:
        for _ in range(50):
            branch, reward = world.randrange(3), world.random()
            state.reward(branch, reward)
            expected = rewarded(expected, branch, reward, decay=0.9)
        for found, wanted in zip(state.arms, expected, strict=True):
            assert found.feedbacks == wanted.feedbacks
            assert (found.weight, found.reward) == pytest.approx((wanted.weight, wanted.reward))


def test_restarted_router_knows_what_was_learnt(key: str) -> None:
    for policy in (ThompsonRouter, EpsilonGreedyRouter):
        with closing(policy(2, state="postgres", state_key=f"{key}/{policy.policy}")) as first:
            first.load()
            first.send_feedback(None, [], 1.0, None, routing=1)
        with closing(policy(2, state="postgres", state_key=f"{key}/{policy.policy}")) as second:
            second.load()
            assert second.arms == (Arm(), Arm(1, 1.0, 1.0))


def test_states_of_other_keys_are_apart(dsn: str, key: str) -> None:
    with closing(started(dsn, key)) as one, closing(started(dsn, f"{key}/other")) as other:
        one.reward(0, 1.0)
        other.reward(1, 1.0)
        assert one.arms == (Arm(1, 1.0, 1.0), Arm(), Arm())
        assert other.arms == (Arm(), Arm(1, 1.0, 1.0), Arm())


def test_default_key_is_deployment_predictor_and_node(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"SELDON_DEPLOYMENT_ID": "birds", "PREDICTOR_ID": "main", "PREDICTIVE_UNIT_ID": "eg"}.items():
        monkeypatch.setenv(name, value)
    router = ThompsonRouter(2, state="postgres")
    assert router.init_metadata()["custom"]["state_key"] == "birds/main/eg"


def test_row_of_another_number_of_branches_is_refused(dsn: str, key: str) -> None:
    started(dsn, key, branches=2).close()
    with pytest.raises(ValueError, match="is of 2 branches, n_branches is 3: choose another state_key"):
        started(dsn, key, branches=3)


def test_deleted_row_begins_anew_in_every_replica(dsn: str, key: str) -> None:
    with closing(started(dsn, key)) as one, closing(started(dsn, key)) as other:
        one.reward(0, 1.0)
        with closing(psycopg2.connect(dsn)) as connection, connection, connection.cursor() as cursor:
            cursor.execute("delete from slipway_router where key = %s", (key,))
        wait_until(lambda: one.arms == other.arms == unknown(3), what="both begin anew")
        wait_until(lambda: one.is_reachable, what="one reachable")
        one.reward(2, 1.0)
        wait_until(lambda: other.arms[2].feedbacks == 1, what="the other sees it")


def test_user_who_may_only_read_and_write_rows_is_enough(dsn: str, key: str) -> None:
    started(dsn, key).close()  # the table is there
    with closing(psycopg2.connect(dsn)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("create role clerk login; grant select, insert, update on slipway_router to clerk")
    with closing(started(dsn.replace("slipway@", "clerk@"), f"{key}/clerk")) as state:
        state.reward(0, 1.0)
        assert state.arms[0].feedbacks == 1


def test_start_without_the_database_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv("ROUTER_STATE_DSN", f"postgresql://slipway@/postgres?host={tmp_path}")
    router = ThompsonRouter(2, state="postgres", state_key="away")
    with pytest.raises(psycopg2.OperationalError):
        router.load()


def test_database_away_leaves_routing_and_answers_feedback_503_until_it_is_back() -> None:
    server = PostgresServer()
    try:
        server.start()
        state = started(server.dsn, "outage", branches=2)
        router = EpsilonGreedyRouter(2, state="memory", epsilon=0.0)
        router._state = state
        with closing(router):
            router.send_feedback(None, [], 1.0, None, routing=1)
            server.stop()
            wait_until(lambda: not state.is_reachable, what="the outage is noticed")
            assert {router.route(None, []) for _ in range(20)} == {1}  # what was learnt still counts
            with pytest.raises(ComponentError) as refused:
                router.send_feedback(None, [], 1.0, None, routing=0)
            assert (refused.value.status_code, refused.value.reason) == (503, "ROUTER_STATE_AWAY")
            assert {"type": "GAUGE", "key": "router_state_reachable", "value": 0} in router.metrics()
            server.start()
            wait_until(lambda: state.is_reachable, what="the state is back")
            router.send_feedback(None, [], 1.0, None, routing=0)
            assert router.arms == (Arm(1, 1.0, 1.0), Arm(1, 1.0, 1.0))
    finally:
        server.remove()


def test_feedback_that_meets_the_outage_first_is_503_too(key: str) -> None:
    server = PostgresServer()
    try:
        server.start()
        state = PostgresState(server.dsn, key, 2, decay=1.0, refresh_s=3600)
        state.start()
        router = ThompsonRouter(2, state="memory")
        router._state = state
        with closing(router):
            server.stop()
            with pytest.raises(ComponentError) as refused:
                router.send_feedback(None, [], 1.0, None, routing=0)
            assert refused.value.status_code == 503
            assert router.arms == unknown(2)
    finally:
        server.remove()


def test_routing_does_not_wait_for_a_feedback_that_waits_for_the_database(dsn: str, key: str) -> None:
    """Someone holds the row: the feedback ends after STATEMENT_TIMEOUT_MS, and routes are answered meanwhile."""
    with closing(ThompsonRouter(2, state="postgres", state_key=key)) as router:
        router.load()
        failures: list[ComponentError] = []

        def give() -> None:
            try:
                router.send_feedback(None, [], 1.0, None, routing=0)
            except ComponentError as exc:
                failures.append(exc)

        with closing(psycopg2.connect(dsn)) as holder, holder.cursor() as cursor:
            cursor.execute("select 1 from slipway_router where key = %s for update", (key,))
            waiting = threading.Thread(target=give)
            waiting.start()
            routed = 0
            while waiting.is_alive() and routed < 1000:
                router.route(None, [])
                routed += 1
            assert waiting.is_alive()
            waiting.join()
        assert [failure.status_code for failure in failures] == [503]
        wait_until(lambda: router._state.is_reachable, what="the state is reachable again")
        assert router.arms == unknown(2)
