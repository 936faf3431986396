from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.onebox.api.meta_rules import LABEL, MAX_LABEL
from slipway.onebox.paths import Paths
from slipway.onebox.services.hub.names import (
    ADMIN,
    CULLER,
    MAX_USER,
    SERVICES,
    USER_PATTERN,
    namespace_of,
    server_mark,
    service_mark,
)

WORDS = st.lists(st.text("az09", min_size=1, max_size=12), max_size=3)


@given(first=st.sampled_from("abz"), words=WORDS)
def test_every_name_of_a_user_makes_a_namespace(first: str, words: list[str]) -> None:
    user = "-".join([first, *words])
    assert bool(re.match(USER_PATTERN, user)) == (len(user) <= MAX_USER)
    namespace = namespace_of(user)
    assert LABEL.fullmatch(namespace)
    assert len(namespace) <= MAX_LABEL or len(user) > MAX_USER


@pytest.mark.parametrize("name", ["ada", "a", "ada-2", "a" * 32, ADMIN, CULLER])
def test_plain_names_are_allowed(name: str) -> None:
    assert re.match(USER_PATTERN, name)


@pytest.mark.parametrize(
    "name", ["", "Ada", "ada\n", "ada_", "-ada", "ada-", "a--b", "../ada", "ada lovelace", "ädä", "a" * 33]
)
def test_other_names_are_not(name: str) -> None:
    assert not re.match(USER_PATTERN, name)


def test_mark_differs_between_users_and_homes(tmp_path: Path) -> None:
    one, other = Paths(tmp_path / "one"), Paths(tmp_path / "other")
    marks = {server_mark(one, "ada"), server_mark(one, "bob"), server_mark(other, "ada")}
    assert len(marks) == 3


def test_user_with_the_name_of_a_service_is_not_taken_for_it(tmp_path: Path) -> None:
    """Another authenticator than the platform's own reserves no names."""
    paths = Paths(tmp_path)
    assert {server_mark(paths, name) for name in SERVICES}.isdisjoint(service_mark(paths, name) for name in SERVICES)
    assert not any(re.match(USER_PATTERN, service_mark(paths, name).rpartition("/")[2]) for name in SERVICES)
