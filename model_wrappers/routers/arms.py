"""What is known of each branch, and what one feedback changes: values only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

MAX_BRANCHES = 64  # a graph has no more nodes


@dataclass(frozen=True)
class Arm:
    """One branch.

    ``feedbacks`` counts all there ever were. ``weight`` and ``reward`` are sums over them in which every later feedback of
    the router counts ``decay`` times as much as the one before it: without decay ``weight`` is ``feedbacks``.
    """

    feedbacks: int = 0
    weight: float = 0.0
    reward: float = 0.0

    @property
    def mean(self) -> float:
        """Mean reward, 0 to 1; 0 where nothing is known."""
        return self.reward / self.weight if self.weight > 0 else 0.0

    def to_json(self) -> dict[str, float]:
        return {"feedbacks": float(self.feedbacks), "mean_reward": self.mean}


Arms = tuple[Arm, ...]


def unknown(n_branches: int) -> Arms:
    """So many branches of which nothing is known."""
    return (Arm(),) * n_branches


def rewarded(arms: Sequence[Arm], branch: int, reward: float, *, decay: float) -> Arms:
    """The branches after one more feedback. Every branch forgets, as in discounted Thompson sampling (Raj, Kalyani 2017)."""
    faded = [replace(arm, weight=arm.weight * decay, reward=arm.reward * decay) for arm in arms]
    one = faded[branch]
    faded[branch] = Arm(one.feedbacks + 1, one.weight + 1, one.reward + reward)
    return tuple(faded)
