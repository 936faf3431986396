"""The learning routers: choices, rewards, what they refuse and what they tell."""

from __future__ import annotations

import math
import random
from collections import Counter
from statistics import fmean
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_wrappers.errors import ComponentError
from model_wrappers.routers import EpsilonGreedyRouter, ThompsonRouter
from model_wrappers.routers.arms import Arm, rewarded, unknown
from model_wrappers.routers.bandit import BanditRouter
from slipway.contract.protos import prediction_pb2 as pb
from slipway.microservice.component import component_of
from slipway.microservice.custom_metrics import CustomMetrics, checked_metrics
from slipway.microservice.hooks import Hooks
from slipway.microservice.inputs import Input
from slipway.microservice.metadata import check_metadata, read_metadata
from slipway.microservice.settings import Identity

CHANCES = (0.3, 0.5, 0.7)
BEST = 2


def play(router: BanditRouter, chances: tuple[float, ...], rounds: int, *, seed: int) -> list[int]:
    """The choices of ``rounds`` requests, each with its Bernoulli feedback."""
    world = random.Random(seed)
    choices = []
    for _ in range(rounds):
        branch = router.route(None, [])
        router.send_feedback(None, [], float(world.random() < chances[branch]), None, routing=branch)
        choices.append(branch)
    return choices


def regret(choices: list[int], chances: tuple[float, ...]) -> float:
    """Expected reward lost against always taking the best branch."""
    return sum(max(chances) - chances[branch] for branch in choices)


def thompson(**given: Any) -> ThompsonRouter:
    return ThompsonRouter(**{"n_branches": len(CHANCES), "state": "memory", **given})


def greedy(**given: Any) -> EpsilonGreedyRouter:
    return EpsilonGreedyRouter(**{"n_branches": len(CHANCES), "state": "memory", **given})


@pytest.mark.parametrize("make", [thompson, greedy])
def test_router_converges_to_the_best_branch(make: Any) -> None:
    shares = [Counter(play(make(seed=seed), CHANCES, 2000, seed=seed)[1000:])[BEST] / 1000 for seed in range(10)]
    assert fmean(shares) > 0.85
    assert min(shares) > 0.6


def lai_robbins(chances: tuple[float, ...]) -> float:
    """Factor of ln(T) below which no consistent policy's regret stays (Lai, Robbins 1985)."""
    best = max(chances)
    gaps = [
        (best - chance) / (chance * math.log(chance / best) + (1 - chance) * math.log((1 - chance) / (1 - best)))
        for chance in chances
        if chance != best
    ]
    return sum(gaps)


def test_thompson_regret_stays_near_the_lower_bound() -> None:
    """Kaufmann, Korda, Munos 2012: its regret is that bound asymptotically; twice it is allowed at T = 3,000."""
    rounds, seeds = 3000, 10
    found = fmean(regret(play(thompson(seed=seed), CHANCES, rounds, seed=100 + seed), CHANCES) for seed in range(seeds))
    assert found < 2 * lai_robbins(CHANCES) * math.log(rounds)


def test_epsilon_greedy_regret_is_that_of_exploring() -> None:
    """Once the best is known: epsilon of the requests, each with the mean gap; half as much again for finding it."""
    rounds, epsilon = 4000, 0.1
    found = fmean(
        regret(play(greedy(seed=seed, epsilon=epsilon), CHANCES, rounds, seed=200 + seed), CHANCES)
        for seed in range(10)
    )
    exploring = epsilon * rounds * fmean(max(CHANCES) - chance for chance in CHANCES)
    assert exploring * 0.8 < found < exploring * 1.5


def test_thompson_wastes_less_than_choosing_by_lot() -> None:
    rounds = 2000
    by_lot = rounds * fmean(max(CHANCES) - chance for chance in CHANCES)
    assert regret(play(thompson(seed=1), CHANCES, rounds, seed=1), CHANCES) < by_lot / 4


@pytest.mark.parametrize("make", [thompson, greedy])
def test_decay_follows_a_world_that_changes(make: Any) -> None:
    router = make(seed=3, decay=0.99)
    play(router, (0.8, 0.2, 0.2), 1000, seed=3)
    later = play(router, (0.2, 0.8, 0.2), 1000, seed=4)
    assert Counter(later[500:])[1] / 500 > 0.7


def test_without_feedback_every_branch_gets_its_part() -> None:
    for make in (thompson, greedy):
        router = make(seed=5)
        counted = Counter(router.route(None, []) for _ in range(3000))
        assert all(850 < counted[branch] < 1150 for branch in range(3)), counted


def test_epsilon_greedy_never_settles_on_a_branch_that_gives_no_feedback() -> None:
    router = greedy(seed=1, epsilon=0.0)
    router.send_feedback(None, [], 0.1, None, routing=0)
    assert {router.route(None, []) for _ in range(50)} == {0}


def test_seed_repeats_the_choices() -> None:
    for make in (thompson, greedy):
        assert play(make(seed=9), CHANCES, 200, seed=1) == play(make(seed=9), CHANCES, 200, seed=1)


@given(feedbacks=st.lists(st.tuples(st.integers(0, 3), st.floats(0, 1)), max_size=50), decay=st.floats(0.01, 1.0))
def test_rewarded_counts_all_and_keeps_means_within_the_rewards(
    feedbacks: list[tuple[int, float]], decay: float
) -> None:
    arms = unknown(4)
    for branch, reward in feedbacks:
        arms = rewarded(arms, branch, reward, decay=decay)
    for place, arm in enumerate(arms):
        given_here = [reward for branch, reward in feedbacks if branch == place]
        assert arm.feedbacks == len(given_here)
        if decay == 1.0:
            assert arm.weight == len(given_here)
            assert arm.reward == pytest.approx(sum(given_here))
        if given_here and arm.weight > 1e-300:
            assert min(given_here) - 1e-9 <= arm.mean <= max(given_here) + 1e-9


def test_decay_makes_earlier_feedback_of_every_branch_count_less() -> None:
    arms = rewarded(rewarded(unknown(2), 0, 1.0, decay=0.5), 1, 0.5, decay=0.5)
    assert arms == (Arm(1, 0.5, 0.5), Arm(1, 1.0, 0.5))


@pytest.mark.parametrize("reward", [-0.1, 1.5, math.nan, math.inf, "1", None])
def test_reward_outside_0_to_1_is_refused_and_not_counted(reward: Any) -> None:
    router = thompson()
    with pytest.raises(ComponentError, match="0 .bad. to 1 .good.") as refused:
        router.send_feedback(None, [], reward, None, routing=0)
    assert (refused.value.status_code, refused.value.reason) == (400, "REWARD_INVALID")
    assert router.arms == unknown(3)


@pytest.mark.parametrize("routing", [None, -1, -2, 3])
def test_feedback_that_names_no_branch_is_refused_and_not_counted(routing: int | None) -> None:
    router = thompson()
    with pytest.raises(ComponentError, match=r"response\.meta\.routing.*0 to 2.*x-slipway-routing") as refused:
        router.send_feedback(None, [], 1.0, None, routing=routing)
    assert (refused.value.status_code, refused.value.reason) == (400, "FEEDBACK_ROUTING_MISSING")
    assert router.arms == unknown(3)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no state": ({"state": None}, r"state=None: say postgres .* or memory"),
    "unknown state": ({"state": "redis"}, "state='redis': say postgres"),
    "no branches": ({"n_branches": 0}, "n_branches=0 is not a whole number from 1 to 64"),
    "too many": ({"n_branches": 65}, "n_branches=65"),
    "half a branch": ({"n_branches": 2.5}, "n_branches=2.5"),
    "decay 0": ({"decay": 0.0}, "decay=0.0 is not above 0"),
    "decay above 1": ({"decay": 1.1}, "decay=1.1"),
    "key": ({"state_key": "x" * 201}, "state_key='xxx"),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("make", [thompson, greedy])
def test_parameter_that_makes_no_sense_is_named(make: Any, case: str) -> None:
    given, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        make(**given)


def test_policy_parameters_that_make_no_sense_are_named() -> None:
    with pytest.raises(ValueError, match=r"epsilon=1.5 is not within 0..1"):
        greedy(epsilon=1.5)
    with pytest.raises(ValueError, match="prior_failures=0: both are above 0"):
        thompson(prior_failures=0)


def test_memory_is_refused_for_several_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUNICORN_WORKERS", "2")
    with pytest.raises(ValueError, match=r"one process, and GUNICORN_WORKERS=2: use postgres"):
        thompson()


@pytest.mark.parametrize("given", [["--workers", "2"], ["--workers=2"], ["--grpc-workers", "3"]])
def test_memory_is_refused_for_several_processes_of_a_flag(given: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["microservice", "Router", *given, "--threads", "4"])
    with pytest.raises(ValueError, match=r"one process, and --\S*workers \d: use postgres"):
        thompson()
    monkeypatch.setattr(
        "sys.argv", ["microservice", "Router", "--workers", "1", "--grpc-workers", "0", "--threads", "4"]
    )
    thompson()


def test_postgres_without_an_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROUTER_STATE_DSN", raising=False)
    with pytest.raises(ValueError, match="the variable ROUTER_STATE_DSN is missing"):
        thompson(state="postgres")


def test_address_that_is_none_is_refused_without_telling_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROUTER_STATE_DSN", "postgresql//ada:s3cret@db/routers")
    with pytest.raises(ValueError, match="ROUTER_STATE_DSN is no address of PostgreSQL") as refused:
        thompson(state="postgres")
    assert "s3cret" not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__


@pytest.mark.parametrize("password", ["s3c@ret", "s3c/ret"])
def test_password_that_is_read_as_an_address_is_refused_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, password: str
) -> None:
    """libpq would look for the host ``ret@db``, and say so in the log."""
    monkeypatch.setenv("ROUTER_STATE_DSN", f"postgresql://ada:{password}@db/routers")
    with pytest.raises(ValueError, match="part of the password is read as host or port") as refused:
        ThompsonRouter(2, state="postgres")
    assert "s3c" not in str(refused.value)
    assert "ret" not in str(refused.value)


def test_memory_routers_are_apart() -> None:
    one, other = thompson(), thompson()
    one.send_feedback(None, [], 1.0, None, routing=1)
    assert other.arms == unknown(3)


def hooks_of(router: BanditRouter) -> Hooks:
    identity = Identity("eg", "slipway/thompson-router:1", "bandit", "main", "1")
    return Hooks(component_of(router), CustomMetrics(identity), identity)


def feedback(reward: float, branch: int) -> pb.Feedback:
    message = pb.Feedback(reward=reward)
    message.response.meta.routing["eg"] = branch
    return message


def test_microservice_routes_and_counts_feedback_by_its_own_name() -> None:
    hooks = hooks_of(thompson(seed=1))
    reply = hooks.route(Input(b"any", [], None))
    assert 0 <= reply.data[0][0] < 3
    answer = hooks.send_feedback(feedback(0.5, 2))
    branches = answer.meta["tags"]["router"]["branches"]
    assert branches[2] == {"feedbacks": 1.0, "mean_reward": 0.5}
    assert branches[0] == {"feedbacks": 0.0, "mean_reward": 0.0}


def test_metrics_tell_pulls_and_rewards_of_each_branch() -> None:
    hooks = hooks_of(thompson(seed=1))
    routed = [hooks.route(Input(b"any", [], None)).data[0][0] for _ in range(20)]
    hooks.send_feedback(feedback(1.0, 1))
    hooks.send_feedback(feedback(0.0, 1))
    samples = {
        (sample.name, sample.labels.get("branch"), sample.labels["method"]): sample.value
        for family in hooks.metrics.collect()
        for sample in family.samples
        if "method" in sample.labels
    }
    for branch in range(3):
        assert samples.get(("router_pulls_total", str(branch), "router"), 0.0) == routed.count(branch)
    assert samples["router_feedbacks", "1", "feedback"] == 2
    assert samples["router_mean_reward", "1", "feedback"] == 0.5
    assert samples["router_state_reachable", None, "router"] == 1


def test_metrics_name_branches_only_when_something_changed() -> None:
    router = thompson()
    router.route(None, [])
    first = {one["key"] for one in checked_metrics(router.metrics())}
    router.route(None, [])
    assert first > {one["key"] for one in router.metrics()} == {"router_pulls", "router_state_reachable"}


@pytest.mark.parametrize("make", [thompson, greedy])
def test_metadata_tells_policy_and_state(make: Any) -> None:
    router = make()
    metadata = read_metadata(component_of(router), image="slipway/router:1", override="")
    check_metadata(metadata)
    assert metadata["custom"] == {"policy": router.policy, "n_branches": "3", "state": "memory"}
