"""The facts → what is said of them."""

from __future__ import annotations

from slipway.doctor.facts import Facts
from slipway.doctor.finding import Finding
from slipway.doctor.order import CHECKS


def findings(facts: Facts) -> list[Finding]:
    """In the order of the checks, which is the order in which things are best repaired; each once."""
    return list(dict.fromkeys(finding for check in CHECKS for finding in check.findings(facts)))
