"""Components that several of these tests serve."""

from __future__ import annotations


class Echo:
    """Answers what it was asked, and keeps it."""

    def __init__(self):
        self.seen = []

    def predict(self, X, names, meta=None):
        self.seen.append((X, names, meta))
        return X
