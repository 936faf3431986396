"""Who looks after a SeldonDeployment: contract section 1.6, ``seldon.io/controller-id``."""

from __future__ import annotations

import pytest

from slipway.contract.controller_id import LABEL, NO_ID, check_id, is_looked_after


def labels(controller: str) -> dict[str, str]:
    return {LABEL: controller, "team": "birds"} if controller else {"team": "birds"}


@pytest.mark.parametrize(
    ("own", "object_names", "namespace_names", "ours"),
    [
        (NO_ID, "", "", True),
        (NO_ID, "seldon", "", False),
        (NO_ID, "", "team-a", False),
        ("slipway", "", "", False),
        ("slipway", "slipway", "", True),
        ("slipway", "", "slipway", True),
        ("slipway", "slipway", "slipway", True),
        ("slipway", "seldon", "slipway", False),
        ("slipway", "slipway", "seldon", False),
        ("slipway", "seldon", "", False),
    ],
)
def test_what_names_another_controller_is_left_alone(own, object_names, namespace_names, ours):
    assert is_looked_after(own, labels(object_names), labels(namespace_names)) is ours


@pytest.mark.parametrize("named", ["", "a", "b"])
@pytest.mark.parametrize("namespace", ["", "a", "b"])
def test_no_object_has_two_controllers(named, namespace):
    controllers = [own for own in ("", "a", "b") if is_looked_after(own, labels(named), labels(namespace))]
    assert len(controllers) <= 1


@pytest.mark.parametrize("text", ["", "slipway", "A.b_c-1", "x" * 63])
def test_an_id_is_what_a_label_can_hold(text):
    assert check_id(text) == text


@pytest.mark.parametrize("text", ["-a", "a b", "x" * 64, "ä", "a\n"])
def test_an_id_that_no_label_can_hold_is_refused(text):
    with pytest.raises(ValueError, match="at most 63 letters"):
        check_id(text)
