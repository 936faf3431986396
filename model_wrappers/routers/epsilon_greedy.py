"""The branch with the best mean reward, and now and then another."""

from __future__ import annotations

from model_wrappers.routers.arms import Arms
from model_wrappers.routers.bandit import BanditRouter


class EpsilonGreedyRouter(BanditRouter):
    """Takes any branch with probability ``epsilon``, else the one with the best mean reward (Sutton, Barto 2018, section 2.2).

    Equal means are drawn by lot. A branch without feedback has mean 0, so that one that never answers wins nothing.

    Args:
        n_branches: and all others of ``BanditRouter``.
        epsilon: share of requests that explore, 0 to 1.
    """

    policy = "epsilon-greedy"

    def __init__(
        self,
        n_branches: int,
        state: str | None = None,
        state_key: str | None = None,
        decay: float = 1.0,
        seed: int | None = None,
        epsilon: float = 0.1,
    ) -> None:
        if not 0 <= epsilon <= 1:
            raise ValueError(f"epsilon={epsilon!r} is not within 0..1")
        self.epsilon = epsilon
        super().__init__(n_branches, state, state_key, decay, seed)

    def choose(self, arms: Arms) -> int:
        """A branch by lot, or the best."""
        if self._random.random() < self.epsilon:
            return self._random.randrange(len(arms))
        best = max(arm.mean for arm in arms)
        return self._random.choice([place for place, arm in enumerate(arms) if arm.mean == best])
