"""How far a training is, for people: a line soon after it began, one per epoch and, on a terminal, a bar within it."""

from __future__ import annotations

import sys
import time
from typing import TextIO

from model_wrappers.darknet.training.checkpoint import EpochMetrics

BAR_CHARS = 24
BAR_EVERY_S = 0.2
RATE_AFTER_STEPS = 5
"""The first step alone is slower than the others: PyTorch warms up in it."""
CLEAR_LINE = "\r\x1b[K"


class ProgressLines:
    """``done`` steps came before, in an earlier process: they do not count for the time left."""

    def __init__(self, done: int = 0, *, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stdout
        self.started = time.monotonic()
        self.before = done
        self.left = ""
        self.drawn_at = 0.0

    def step(self, done: int, steps: int, loss: float) -> None:
        now = time.monotonic()
        step_s = (now - self.started) / max(1, done - self.before)
        self.left = duration_text(step_s * (steps - done))
        if done - self.before == RATE_AFTER_STEPS:
            start = CLEAR_LINE if self.stream.isatty() else ""
            line = f"{start}step {done}/{steps}  loss {loss:.3f}  {step_s:.2f} s a step  {self.left} left"
            print(line, file=self.stream, flush=True)
        if self.stream.isatty() and now - self.drawn_at >= BAR_EVERY_S:
            self.drawn_at = now
            full = BAR_CHARS * done // steps
            bar = "#" * full + "." * (BAR_CHARS - full)
            self.stream.write(f"{CLEAR_LINE}[{bar}] step {done}/{steps}  loss {loss:.3f}  {self.left} left")
            self.stream.flush()

    def epoch(self, metrics: EpochMetrics, epochs: int) -> None:
        found = "" if metrics.map50 is None else f"  mAP@0.5 {metrics.map50:.3f}"
        start = CLEAR_LINE if self.stream.isatty() else ""
        print(
            f"{start}epoch {metrics.epoch}/{epochs}  loss {metrics.loss:.3f}  rate {metrics.rate:.1e}{found}"
            f"  {self.left} left",
            file=self.stream,
            flush=True,
        )


def duration_text(seconds: float) -> str:
    """``48 s``, ``12 min``, ``3 h 05 min``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02} min"
