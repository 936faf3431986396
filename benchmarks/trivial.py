"""A component that gives back what it gets: what is measured around it is everything else."""

from __future__ import annotations

from typing import Any


class Trivial:
    def predict(self, X: Any, names: Any = None, meta: Any = None) -> Any:  # noqa: N803, ARG002 - Seldon's signature
        return X
