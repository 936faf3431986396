"""What every learning router does: choose a branch, count its rewards, tell about both."""

from __future__ import annotations

import atexit
import math
import os
import random
import sys
import threading
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from model_wrappers.errors import ComponentError
from model_wrappers.routers.arms import MAX_BRANCHES, Arms
from model_wrappers.routers.state import DSN_VARIABLE, MEMORY, POSTGRES, STATES, ArmState, MemoryState, StateAwayError

REWARD_INVALID = "REWARD_INVALID"
ROUTING_MISSING = "FEEDBACK_ROUTING_MISSING"
STATE_AWAY = "ROUTER_STATE_AWAY"
MAX_KEY_CHARS = 200
_KEY_VARIABLES = ("SELDON_DEPLOYMENT_ID", "PREDICTOR_ID", "PREDICTIVE_UNIT_ID")
_WORKER_VARIABLES = ("GUNICORN_WORKERS", "GRPC_WORKERS")
_WORKER_FLAGS = ("--workers", "--grpc-workers")  # of both start commands


class BanditRouter:
    """A Seldon ROUTER; a subclass chooses the branch. Its hooks may run in several threads at a time.

    Args:
        n_branches: children of the node.
        state: ``postgres``, shared by all replicas (its address is the variable ROUTER_STATE_DSN), or ``memory``: of this
            process alone, for one replica that may forget. There is no default: nobody shall lose state without knowing.
        state_key: name of the shared state, ``<deployment>/<predictor>/<node>`` unless given. Other branches behind a router
            are another state.
        decay: 1 forgets nothing; below it each feedback makes all earlier ones count so much less.
        seed: makes the choices of one process repeatable.
    """

    policy = ""

    def __init__(
        self,
        n_branches: int,
        state: str | None = None,
        state_key: str | None = None,
        decay: float = 1.0,
        seed: int | None = None,
    ) -> None:
        if type(n_branches) is not int or not 1 <= n_branches <= MAX_BRANCHES:
            raise ValueError(f"n_branches={n_branches!r} is not a whole number from 1 to {MAX_BRANCHES}")
        if not 0 < decay <= 1:
            raise ValueError(f"decay={decay!r} is not above 0 and at most 1")
        self.n_branches = n_branches
        self.state_kind = _check_state(state)
        self.state_key = _check_key(state_key)
        self._state = self._make_state(decay)
        self._random = random.Random(seed)  # noqa: S311  - no secret
        self._told: Arms = ()  # by the gauges
        self._last = threading.local()  # tags() and metrics() follow their hook on the same thread

    def _make_state(self, decay: float) -> ArmState:
        if self.state_kind == MEMORY:
            return MemoryState(self.n_branches, decay=decay)
        from model_wrappers.routers.postgres import PostgresState  # psycopg2 is needed by those who share a state

        dsn = os.environ.get(DSN_VARIABLE, "")
        return PostgresState(dsn, self.state_key, self.n_branches, decay=decay)

    def choose(self, arms: Arms) -> int:
        """The branch for one request."""
        raise NotImplementedError

    @property
    def arms(self) -> Arms:
        """What is known of each branch."""
        return self._state.arms

    def load(self) -> None:
        """Reach the state. Raises what makes that impossible: a router that knows nothing must not take requests."""
        self._state.start()
        atexit.register(self.close)

    def close(self) -> None:
        """Leave the state; no call may be under way."""
        self._state.close()

    def route(self, X: Any, names: Sequence[str] | None = None) -> int:
        """The branch for this request. The request itself is not looked at."""
        branch = self.choose(self._state.arms)
        self._last.branch, self._last.is_feedback = branch, False
        return branch

    def send_feedback(
        self, X: Any, names: Sequence[str] | None, reward: float, truth: Any, routing: int | None = None
    ) -> None:
        """Count ``reward``, 0 to 1, for the branch ``routing`` (of ``response.meta.routing``).

        Raises:
            ComponentError: 400 for a reward or routing that is none, 503 where the shared state is away.
        """
        self._last.branch, self._last.is_feedback = None, True
        try:
            self._state.reward(self._check_routing(routing), _check_reward(reward))
        except StateAwayError as exc:
            sentence = (
                "The router's state cannot be reached: this feedback was not counted for sure. Send it again later."
            )
            raise ComponentError(sentence, reason=STATE_AWAY, status_code=503) from exc

    def _check_routing(self, routing: int | None) -> int:
        if type(routing) is int and 0 <= routing < self.n_branches:
            return routing
        found = "none" if routing is None else str(routing)
        raise ComponentError(
            "response.meta.routing of the feedback must say which branch this router chose "
            f"(0 to {self.n_branches - 1}), as the reply's header x-slipway-routing told; found {found}.",
            reason=ROUTING_MISSING,
        )

    def tags(self) -> dict[str, Any]:
        """What is known of each branch, in the answer to a feedback."""
        if not self._last.__dict__.get("is_feedback"):
            return {}
        return {"router": {"policy": self.policy, "branches": [arm.to_json() for arm in self._state.arms]}}

    def metrics(self) -> list[dict[str, Any]]:
        """The last choice; each branch's feedbacks and mean reward where they have changed."""
        told: list[dict[str, Any]] = []
        if (branch := self._last.__dict__.pop("branch", None)) is not None:
            told.append({"type": "COUNTER", "key": "router_pulls", "value": 1, "tags": {"branch": str(branch)}})
        told.append({"type": "GAUGE", "key": "router_state_reachable", "value": int(self._state.is_reachable)})
        arms = self._state.arms
        if arms is not self._told:
            self._told = arms
            for place, arm in enumerate(arms):
                tags = {"branch": str(place)}
                told.append({"type": "GAUGE", "key": "router_feedbacks", "value": arm.feedbacks, "tags": tags})
                told.append({"type": "GAUGE", "key": "router_mean_reward", "value": arm.mean, "tags": tags})
        return told

    def init_metadata(self) -> dict[str, Any]:
        """Which policy and state it is."""
        custom = {"policy": self.policy, "n_branches": str(self.n_branches), "state": self.state_kind}
        if self.state_kind == POSTGRES:
            custom["state_key"] = self.state_key
        return {"platform": "slipway", "custom": custom}


def _check_state(state: str | None) -> str:
    if state not in STATES:
        raise ValueError(
            f"state={state!r}: say postgres (shared by all replicas; {DSN_VARIABLE} is its address) or memory (one replica, "
            "which forgets when it restarts)"
        )
    if state == MEMORY and (told := _several_processes()):
        raise ValueError(f"state='memory' is of one process, and {told}: use postgres")
    return state


def _several_processes() -> str:
    """How this process was told that it is one of several, by a variable or a flag; empty where it was not."""
    for name in _WORKER_VARIABLES:
        if os.environ.get(name, "1") not in ("0", "1"):
            return f"{name}={os.environ[name]}"
    given = " ".join(sys.argv[1:]).replace("=", " ").split()
    for flag, count in pairwise(given):
        if flag in _WORKER_FLAGS and count not in ("0", "1"):
            return f"{flag} {count}"
    return ""


def _check_key(key: str | None) -> str:
    found = key or "/".join(os.environ.get(name, "") for name in _KEY_VARIABLES)
    if len(found) > MAX_KEY_CHARS or not found.isprintable():
        raise ValueError(f"state_key={found[:80]!r} is not a printable name of at most {MAX_KEY_CHARS} characters")
    return found


def _check_reward(reward: float) -> float:
    if not isinstance(reward, int | float) or not math.isfinite(reward) or not 0 <= reward <= 1:
        raise ComponentError(f"reward {reward!r} is not a number from 0 (bad) to 1 (good).", reason=REWARD_INVALID)
    return float(reward)
