"""A proof in a few lines of Markdown: what MLflow shows on the version's own page, above its tags."""

from __future__ import annotations

from model_wrappers.darknet.proof import Proof
from model_wrappers.darknet.timing import TOLERANCE, EngineTiming

MAX_SUMMARY_CHARACTERS = 5000  # of a version's description in MLflow's store
MAX_NAMES = 20
MAX_TEXT = 200  # of one name or licence


def render_summary(proof: Proof, *, report: str) -> str:
    """Verdict, engines, detections per photo; at most ``MAX_SUMMARY_CHARACTERS``, whatever the proof holds.

    ``report`` is Markdown that says where the report is.
    """
    summary, worst = proof.summary, proof.worst
    more = "" if len(summary.names) <= MAX_NAMES else f" and {len(summary.names) - MAX_NAMES} more"
    names = ", ".join(_short(name) for name in summary.names[:MAX_NAMES])
    verdict = f"**Proved**: {len(proof.layers)} layers on {_short(proof.compared_on)} differ from Darknet's computation by at "
    verdict += f"most {worst.difference:.1e} of their largest value ({TOLERANCE:g} allowed)."
    facts = f"Input {summary.width} x {summary.height}, {summary.classes} classes ({names}{more}), "
    facts += f"{summary.weights_bytes:,} bytes of weights. Licence: {_short(proof.licence) or 'not stated'}."
    lines = [
        verdict,
        "",
        facts,
        "",
        f"Times on {_short(proof.machine)}, {proof.threads} threads:",
        "",
        "| engine | median ms | difference |",
        "|---|---|---|",
        *(_engine(timing, proof.engine) for timing in proof.timings),
    ]
    if proof.photos:
        found = ", ".join(f"{len(photo.detections)} in {_short(photo.name)}" for photo in proof.photos)
        lines += ["", f"Detections: {found}."]
    end = f"\n\nAll of it, with the photos: {report}\n"
    text = "\n".join(lines)
    room = MAX_SUMMARY_CHARACTERS - len(end)
    return (text if len(text) <= room else f"{text[: room - 1]}…") + end


def _engine(timing: EngineTiming, chosen: str) -> str:
    name = f"**{timing.engine}**" if timing.engine == chosen else timing.engine
    if timing.problem:
        return f"| {name} | could not run it | |"
    fault = "" if timing.is_usable else ", too much"
    return f"| {name} | {timing.milliseconds:.2f} | {timing.difference:.1e}{fault} |"


def _short(text: str) -> str:
    """Without what Markdown would take for a mark, and not longer than ``MAX_TEXT``."""
    return "".join(letter if letter.isalnum() or letter in " .,:;()+/@_-" else " " for letter in text)[:MAX_TEXT]
