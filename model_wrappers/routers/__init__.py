"""Routers that learn from feedback which branch of a graph answers best."""

from model_wrappers.routers.epsilon_greedy import EpsilonGreedyRouter
from model_wrappers.routers.thompson import ThompsonRouter

__all__ = ["EpsilonGreedyRouter", "ThompsonRouter"]
