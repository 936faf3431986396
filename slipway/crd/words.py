"""What an install found and did, in sentences: for the command, and for a controller's log."""

from __future__ import annotations

from collections.abc import Iterator

from slipway.crd.definition import NAME, NUMBER, number
from slipway.crd.install import Look, Outcome


def told(outcome: Outcome) -> Iterator[str]:
    """One line or more."""
    if outcome.verdict == "newer":
        yield newer(outcome.look)
        return
    if outcome.verdict != "left":
        yield f"{NAME} {outcome.verdict}"
        return
    yield f"{NAME} is another's: it stays as it is, and Slipway works with it"
    yield from compared(outcome.look)


def newer(look: Look) -> str:
    """Why what a later release wrote stays, and how an older one is put back all the same."""
    theirs = "" if look.found is None else f" {number(look.found)}"
    return (
        f"{NAME} is of a newer Slipway: its number is{theirs}, this one's is {NUMBER}. It stays: ours would take fields from "
        "objects, and this Slipway works with it. To go back all the same: slipway crd | kubectl replace -f -"
    )


def compared(look: Look) -> Iterator[str]:
    """How another's definition differs, and which objects would change with ours."""
    if look.theirs is None:
        return
    if look.release:
        yield f"  it came with the Helm release {look.release}: to remove that chart removes it, and every object"
    for path in look.theirs.dropped_there:
        yield f"  it drops {path}"
    for path in look.theirs.dropped_here:
        yield f"  ours drops {path}"
    for part in look.theirs.not_served:
        yield f"  it has no {part}"
    if not look.theirs.has_rules:
        yield "  it has no rules: only a webhook refuses what breaks those of admission"
    for each in look.objects:
        yield f"  ours would change {each}"
    if not look.objects:
        yield "  ours would change no object"
