"""Which of several controllers looks after a SeldonDeployment (contract section 1.6: a label of it or of its namespace).

Seldon's operator has its id from ``CONTROLLER_ID``, ours from ``--controller-id`` or the same variable; most have none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

LABEL = "seldon.io/controller-id"
VARIABLE = "CONTROLLER_ID"
NO_ID = ""
MAX_ID = 63
ID = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
"""A value of a Kubernetes label."""


def is_looked_after(own_id: str, labels: Mapping[str, str], namespace_labels: Mapping[str, str]) -> bool:
    """Does the controller ``own_id`` (``NO_ID`` for one without) look after an object with these labels?

    Object and namespace name the same controller, or one of them does. What names another is left alone by a controller
    without an id too, and so is what names two: changed by nobody, rather than by both.
    """
    named = {labels.get(LABEL, NO_ID), namespace_labels.get(LABEL, NO_ID)} - {NO_ID}
    return named == {own_id} - {NO_ID}


def check_id(text: str) -> str:
    """``text`` as the id of a controller.

    Raises:
        ValueError: no object could be labelled with it.
    """
    if text != NO_ID and (len(text) > MAX_ID or not ID.fullmatch(text)):
        raise ValueError(
            f"{text[:80]!r}: at most {MAX_ID} letters, digits, '-', '_' and '.', as labels have, or nothing"
        )
    return text
