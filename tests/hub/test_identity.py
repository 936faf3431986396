from __future__ import annotations

import json
import os
import pwd
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.onebox.paths import Paths
from slipway.onebox.services.folders import HomeError
from slipway.onebox.services.hub.identity import (
    BLOCK,
    FIRST,
    LAST,
    Identity,
    choose_first_uid,
    ensure_identity,
    ensure_unix_user,
    first_closed,
    number_of,
)


@given(seed=st.integers(min_value=0), taken=st.sets(st.integers(FIRST, LAST), max_size=30))
def test_chosen_block_is_free(seed: int, taken: set[int]) -> None:
    first = choose_first_uid("home", taken.__contains__, seed=seed)
    assert FIRST <= first <= LAST + 1 - BLOCK
    assert taken.isdisjoint(range(first, first + BLOCK))


def test_no_free_block_is_refused() -> None:
    with pytest.raises(HomeError, match="no 1000 free user numbers"):
        choose_first_uid("home", lambda _: True, seed=7)


def test_number_is_given_once_and_never_again() -> None:
    numbers: dict[str, int] = {}
    for user in ("ada", "bob", "ada"):
        numbers[user] = number_of(numbers, user, first=20_000)
    assert numbers == {"ada": 20_001, "bob": 20_002}
    with pytest.raises(HomeError, match="all of its 999"):
        number_of({"ada": 20_999}, "bob", first=20_000)


def test_numbers_are_remembered(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    first = [ensure_identity(paths, user, first=20_000).uid for user in ("ada", "bob")]
    again = [ensure_identity(paths, user, first=20_000).uid for user in ("bob", "ada")]
    assert (first, again) == ([20_001, 20_002], [20_002, 20_001])
    assert json.loads((paths.hub / "users.json").read_text()) == {"ada": 20_001, "bob": 20_002}


def test_damaged_numbers_are_not_guessed(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    paths.hub.mkdir()
    paths.hub_users.write_text('{"ada": 200')
    with pytest.raises(HomeError, match=r"users\.json: not JSON .*getent passwd"):
        ensure_identity(paths, "bob", first=20_000)


def test_number_of_somebody_else_is_refused(tmp_path: Path) -> None:
    entry = pwd.getpwuid(os.getuid())
    with pytest.raises(HomeError, match=f"is {entry.pw_name}'s on this machine"):
        ensure_unix_user(Identity(entry.pw_uid, 20_000), "ada", home=tmp_path)


def test_closed_folder_above_is_found(tmp_path: Path) -> None:
    closed, open_one = tmp_path / "closed", tmp_path / "closed" / "open"
    open_one.mkdir(parents=True)
    open_one.chmod(0o755)
    closed.chmod(0o700)
    assert first_closed((open_one, closed)) == closed
    closed.chmod(0o711)
    assert first_closed((open_one, closed)) is None
