"""The one table of annotations: Seldon's that have an effect, and our own ``slipway.dev/*``.

An unknown ``slipway.dev/*`` annotation is an error; ``seldon.io/*`` and all others are left alone, as Seldon does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from slipway.contract.sdep import SeldonDeployment

PREFIX = "slipway.dev/"


@dataclass(frozen=True)
class Annotation:
    """``places``: where it is read (spec, metadata, predictor). ``values``: a regular expression of what it may be."""

    name: str
    places: tuple[str, ...]
    values: str
    on_onebox: str
    on_istio: str


TABLE: tuple[Annotation, ...] = (
    Annotation(
        "slipway.dev/model-sha256",
        ("predictor",),
        r"(sha256:)?[0-9a-f]{64}",
        "the storage initializer refuses a model folder with another digest",
        "the same",
    ),
)
BY_NAME = {annotation.name: annotation for annotation in TABLE}


@dataclass(frozen=True)
class Complaint:
    """One annotation of ours that cannot be honoured."""

    field: str
    message: str


def check_annotations(sdep: SeldonDeployment) -> Iterator[Complaint]:
    """Unknown, misplaced or misspelt ``slipway.dev/*`` annotations."""
    places = [
        ("metadata", "metadata.annotations", sdep.metadata_annotations),
        ("spec", "spec.annotations", sdep.annotations),
    ]
    places += [
        ("predictor", f"spec.predictors[{index}].annotations", predictor.annotations)
        for index, predictor in enumerate(sdep.predictors)
    ]
    for place, field, given in places:
        for name, value in given.items():
            if name.startswith(PREFIX) and (message := _problem(name, value, place)):
                yield Complaint(f"{field}[{name}]", message)


def _problem(name: str, value: str, place: str) -> str | None:
    known = BY_NAME.get(name)
    if known is None:
        return f"{name!r} is not one of {', '.join(sorted(BY_NAME))}"
    if place not in known.places:
        return f"{name!r} is read in {' or '.join(known.places)}, not here"
    if not re.fullmatch(known.values, value):
        return f"{value!r} does not match {known.values}"
    return None
