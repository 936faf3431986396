from __future__ import annotations

import pytest

from slipway.onebox.services.hub.limits import MAX_ACCOUNTS
from slipway.onebox.services.hub.names import CULLER
from slipway.onebox.services.hub.sentences import LOCK_OUT, signup_refusal


@pytest.mark.parametrize("name", ["bad_name", "a--b", "-a", "a-", "9a", "", "a" * 33, "ada\n", "<b>"])
def test_refused_name_is_told_the_rule(name: str) -> None:
    said = signup_refusal(name, accounts=1)
    assert "lower-case letters, digits and single hyphens" in said
    assert len(said) < 250


def test_reserved_name_is_said_to_be_one() -> None:
    assert "the hub's own" in signup_refusal(CULLER, accounts=1)


def test_full_hub_sends_to_the_administrator() -> None:
    assert "Ask the administrator" in signup_refusal("ada", accounts=MAX_ACCOUNTS)


def test_good_name_was_refused_for_its_password() -> None:
    said = signup_refusal("ada", accounts=MAX_ACCOUNTS - 1)
    assert "10 characters" in said
    assert "72 bytes" in said


def test_lock_out_says_how_long() -> None:
    assert LOCK_OUT == "After 5 refused log-ins an account lets nobody in for 5 minutes."
