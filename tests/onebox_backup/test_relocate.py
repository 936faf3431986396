"""What depends on the machine and the path: addresses, user numbers, interpreters."""

from __future__ import annotations

import ipaddress
import json
import os
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.onebox.backup.errors import NotRestored
from slipway.onebox.backup.relocate import (
    adopt_environments,
    forget_addresses,
    give_homes,
    move_address,
    move_services,
    renumber,
)
from slipway.onebox.paths import Paths
from slipway.onebox.services.hub.identity import BLOCK, FIRST, LAST
from slipway.onebox.settings import INTERNAL, Settings
from tests.onebox_backup.homes import put

OLD, NEW = ipaddress.IPv4Network("127.96.16.0/20"), ipaddress.IPv4Network("127.104.0.0/20")


def test_addresses_keep_their_place_in_the_network() -> None:
    assert move_address("127.96.17.9", OLD, NEW) == "127.104.1.9"
    assert [move_address(other, OLD, NEW) for other in ("None", "", "10.0.0.1")] == ["None", "", "10.0.0.1"]


@given(st.integers(0, OLD.num_addresses - 1))
def test_moving_there_and_back_changes_nothing(index: int) -> None:
    address = str(OLD[index])
    assert move_address(move_address(address, OLD, NEW), NEW, OLD) == address


@pytest.mark.parametrize(
    "body",
    [None, "{", "[]", "{}", '{"spec": []}', '{"spec": {"clusterIP": 7, "clusterIPs": 7}}'],
)
def test_store_that_is_none_of_an_api_is_an_error_that_names_it(tmp_path: Path, body: str | None) -> None:
    file = tmp_path / "objects.sqlite"
    with closing(sqlite3.connect(file)) as store, store:
        if body is not None:
            store.execute("create table objects (resource text, namespace text, name text, body text)")
            store.execute("insert into objects values ('services', 'default', 'one', ?)", (body,))
        else:
            store.execute("create table other (name text)")
    with pytest.raises(NotRestored, match="objects.sqlite: the API's Services in it cannot be read"):
        move_services(file, OLD, NEW)


def test_store_that_is_no_database_is_an_error_that_names_it(tmp_path: Path) -> None:
    file = put(tmp_path / "objects.sqlite", "no database at all, but long enough to be read as one" * 100)
    with pytest.raises(NotRestored, match="objects.sqlite"):
        move_services(file, OLD, NEW)


def test_only_what_people_chose_is_remembered() -> None:
    internal = {name: 30_000 + index for index, name in enumerate(INTERNAL)}
    settings = replace(Settings(gateway_port=9090, cluster_network=str(OLD), with_hub=True), **internal)
    assert forget_addresses(settings) == Settings(gateway_port=9090, with_hub=True)


@given(
    st.dictionaries(st.text("abc", min_size=1, max_size=3), st.integers(1, BLOCK // 2), max_size=8),
    st.sets(st.text("abc", min_size=1, max_size=3), max_size=8),
)
def test_user_numbers_stay_different_and_in_their_block(places: dict[str, int], homes: set[str]) -> None:
    numbers = {user: FIRST + place for place, user in {place: user for user, place in places.items()}.items()}
    new = renumber(numbers, homes, old_first=FIRST, first=FIRST + BLOCK)
    assert set(new) == set(numbers) | homes
    assert len(set(new.values())) == len(new)
    assert all(FIRST + BLOCK < number < FIRST + 2 * BLOCK for number in new.values())
    assert all(new[user] - numbers[user] == BLOCK for user in numbers)


def test_numbers_of_an_ordinary_users_platform_are_new_ones() -> None:
    assert renumber({}, ["grace", "ada"], old_first=0, first=FIRST) == {"ada": FIRST + 1, "grace": FIRST + 2}


def test_taken_numbers_are_given_to_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given_away: dict[str, int] = {}
    monkeypatch.setattr(os, "chown", lambda name, uid, _gid, follow_symlinks: given_away.update({Path(name).name: uid}))
    paths = Paths(tmp_path)
    put(paths.hub_home("ada") / "file")
    (paths.hub_home("ada") / "link").symlink_to("file")
    put(paths.hub_users, json.dumps({"ada": FIRST + 7, "gone": FIRST + 3}))
    settings = Settings(hub_first_uid=FIRST)
    kept = give_homes(paths, settings, home=tmp_path, taken=())
    assert kept.hub_first_uid == FIRST
    assert given_away == dict.fromkeys(("ada", "file", "link"), FIRST + 7)
    moved = give_homes(paths, settings, home=tmp_path, taken=[*range(FIRST, LAST - BLOCK + 1, BLOCK)])
    assert moved.hub_first_uid == LAST + 1 - BLOCK
    assert json.loads(paths.hub_users.read_text()) == {"ada": LAST + 8 - BLOCK, "gone": LAST + 4 - BLOCK}
    assert set(given_away.values()) == {LAST + 8 - BLOCK}


def test_home_without_hub_users_keeps_no_numbers(tmp_path: Path) -> None:
    assert give_homes(Paths(tmp_path), Settings(), home=tmp_path, taken=()) == Settings()


def test_environment_gets_this_python_and_its_scripts_their_place(tmp_path: Path) -> None:
    environment = tmp_path / "environments" / "lock"
    put(environment / "pyvenv.cfg", "home = /old/bin\nhomely = kept\n")
    binary = environment / "bin" / "binary"
    binary.parent.mkdir()
    binary.write_bytes(b"\x7fELF /old/home/environments/lock/bin/")
    put(environment / "bin" / "pip", "#!/bin/sh\n'''exec' /old/home/environments/lock/bin/python \"$0\"\n", 0o755)
    (environment / "bin" / "python").symlink_to("/old/bin/python3.11")
    new = Path("/new/home/environments")
    adopt_environments(tmp_path / "environments", old=Path("/old/home/environments"), new=new)
    assert (environment / "bin" / "python").resolve().exists()
    assert (environment / "pyvenv.cfg").read_text().splitlines()[1] == "homely = kept"
    assert (environment / "bin" / "pip").read_text().splitlines()[1] == f"'''exec' {new}/lock/bin/python \"$0\""
    assert (environment / "bin" / "pip").stat().st_mode & 0o777 == 0o755
    assert binary.read_bytes().endswith(b"/old/home/environments/lock/bin/")
