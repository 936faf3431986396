"""Kubernetes quantities: ``500m``, ``1.5``, ``512Mi``, ``1e3`` → exact numbers."""

from __future__ import annotations

import re
from decimal import Decimal

_SUFFIXES: dict[str, Decimal] = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate("kMGTPE", start=1)},
    **{f"{suffix}i": Decimal(1024) ** power for power, suffix in enumerate("KMGTPE", start=1)},
}
_QUANTITY = re.compile(
    r"(?P<number>[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,2})?)(?P<suffix>[A-Za-z]{0,2})", re.ASCII
)


def parse_quantity(value: str | float) -> Decimal:
    """Raises ValueError. Form: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/."""
    matched = _QUANTITY.fullmatch(str(value).strip())
    if matched is None or matched["suffix"] not in _SUFFIXES:
        raise ValueError(f"{str(value)[:40]!r} is not a quantity such as 500m, 2 or 512Mi")
    return Decimal(matched["number"]) * _SUFFIXES[matched["suffix"]]


def quantity_text(milli: int) -> str:
    """Thousandths as Kubernetes writes them: ``1500m``, ``2``, ``12k``."""
    if milli % 1000:
        return f"{milli}m"
    number, suffix = milli // 1000, ""
    for larger in "kMGTPE":
        if not number or number % 1000:
            break
        number, suffix = number // 1000, larger
    return f"{number}{suffix}"
