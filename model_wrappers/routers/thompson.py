"""Thompson sampling over Beta posteriors."""

from __future__ import annotations

from model_wrappers.routers.arms import Arms
from model_wrappers.routers.bandit import BanditRouter

SMALLEST = 1e-9  # of a Beta's parameter: sums of rewards round


class ThompsonRouter(BanditRouter):
    """Draws each branch's mean reward from what is known of it and takes the largest (Thompson 1933; Chapelle, Li 2011).

    A branch with ``n`` feedbacks of ``s`` reward in all has the posterior Beta(prior_successes + s, prior_failures + n - s):
    exact for rewards of 0 or 1; one in between counts as that part of a success.

    Args:
        n_branches: and all others of ``BanditRouter``.
        prior_successes: of each branch before any feedback, above 0; 1 and 1 is the uniform prior.
        prior_failures: the same.
    """

    policy = "thompson"

    def __init__(
        self,
        n_branches: int,
        state: str | None = None,
        state_key: str | None = None,
        decay: float = 1.0,
        seed: int | None = None,
        prior_successes: float = 1.0,
        prior_failures: float = 1.0,
    ) -> None:
        if not (0 < prior_successes < float("inf") and 0 < prior_failures < float("inf")):
            raise ValueError(
                f"prior_successes={prior_successes!r}, prior_failures={prior_failures!r}: both are above 0"
            )
        self.prior_successes, self.prior_failures = prior_successes, prior_failures
        super().__init__(n_branches, state, state_key, decay, seed)

    def choose(self, arms: Arms) -> int:
        """The branch with the largest draw."""
        draws = [
            self._random.betavariate(
                max(self.prior_successes + arm.reward, SMALLEST),
                max(self.prior_failures + arm.weight - arm.reward, SMALLEST),
            )
            for arm in arms
        ]
        return draws.index(max(draws))
