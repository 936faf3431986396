"""Whether a shadow gets its copies, and whether live requests notice that it hangs. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from slipway.drill.reply import Reply
from slipway.drill.verdict import Act, Findings, quantile

MIRRORED = 0.999
P99_FACTOR = 1.5
P99_SLACK_MS = 50.0
"""Live requests may be slower by these while the shadow hangs; a p99 of a few hundred requests is not known better."""


def inspect_shadow(replies: Sequence[Reply], acts: Sequence[Act]) -> Findings:
    """The live p99 while the shadow hangs, from ``at`` to ``well_at`` of each act, beside that before the first act."""
    hung = [one for one in replies if any(act.at <= one.due < (act.well_at or act.at) for act in acts)]
    well = [one for one in replies if one.due < min((act.at for act in acts), default=0.0)]
    if not well or not hung:
        return Findings(problems=("nothing to compare: no request was due before the shadow hung, or none while",))
    p99_well, p99_hung = _p99_ms(well), _p99_ms(hung)
    note = f"live p99 {p99_hung:.0f} ms while the shadow hangs, {p99_well:.0f} ms before"
    is_harmed = p99_hung > P99_FACTOR * p99_well + P99_SLACK_MS
    return Findings((note,), (note,) if is_harmed else ())


def inspect_mirroring(sent: int, mirrored: int) -> Findings:
    """``mirrored``: what the shadow answered of ``sent`` requests."""
    note = f"{mirrored} of {sent} requests mirrored"
    return Findings((note,), (note,) if not sent or mirrored < MIRRORED * sent else ())


def _p99_ms(replies: Sequence[Reply]) -> float:
    return quantile([one.latency_s * 1000 for one in replies if one.is_valid], 0.99)
