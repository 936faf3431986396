"""A run of benchmarks/scaling.py as a picture: users and requests, times, replicas, one above the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

SIZE, DOTS_PER_INCH = (9.0, 7.5), 110
DARK, BLUE, RED, GREEN = "#333333", "#1f6fb2", "#b23a2e", "#2c7a4b"


def draw(results: dict[str, Any], file: Path) -> None:
    """``results``: as scaling.py writes them."""
    load, replicas = results["load"], results["replicas"]
    at = [one["at_s"] for one in load]
    figure = Figure(figsize=SIZE)
    above, middle, below = figure.subplots(3, 1, sharex=True)
    above.step(at, [one["users"] for one in load], color=DARK, label="users", where="post")
    above.plot(at, [one["per_s"] for one in load], color=BLUE, label="requests per second")
    above.plot(at, [one["failures"] for one in load], color=RED, label="failed, ever")
    middle.plot(at, [one["p50_ms"] for one in load], color=BLUE, label="half take at most, ms")
    middle.plot(at, [one["p95_ms"] for one in load], color=DARK, label="19 of 20 take at most, ms")
    times = [one["at_s"] for one in replicas]
    below.step(times, [one["wanted"] for one in replicas], color=DARK, label="replicas wanted", where="post")
    below.fill_between(
        times, [one["ready"] for one in replicas], step="post", color=GREEN, alpha=0.35, label="replicas ready"
    )
    below.set_xlabel("seconds")
    for axes in (above, middle, below):
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend(loc="upper left", fontsize="small", frameon=False)
    figure.suptitle(f"{results['requests']} requests, {results['failures']} failed", fontsize="medium")
    figure.tight_layout()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=DOTS_PER_INCH)
