"""Removing a user: who may be removed, said before anything is done. What it removes: tests/e2e/test_hub_servers.py."""

from __future__ import annotations

import json
import os
import pwd
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from slipway.cli.main import main
from slipway.onebox.paths import Paths
from slipway.onebox.services.folders import HomeError
from slipway.onebox.services.hub.identity import Identity, remove_unix_user
from slipway.onebox.services.hub.removal import earlier_claims, refuse_user_who_may_log_in


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """Ada may log in, bob was shut out, cy only had a number; dora never had a server."""
    paths = Paths(tmp_path / "home")
    for user in ("ada", "bob"):
        paths.hub_home(user).mkdir(parents=True)
    paths.hub_users.write_text(json.dumps({"cy": 20_003}))
    paths.data("hub").mkdir(parents=True)
    with closing(sqlite3.connect(paths.data("hub") / "jupyterhub.sqlite")) as database:
        database.execute("CREATE TABLE users_info (username TEXT, is_authorized BOOLEAN)")
        database.executemany("INSERT INTO users_info VALUES (?, ?)", [("ada", True), ("bob", False), ("dora", False)])
        database.commit()
    return paths


@pytest.mark.parametrize("user", ["bob", "cy"])
def test_user_who_is_shut_out_can_be_removed(paths: Paths, user: str) -> None:
    refuse_user_who_may_log_in(paths, user)


def test_user_who_may_log_in_is_refused(paths: Paths) -> None:
    with pytest.raises(HomeError, match="ada may log in at the hub: press `Shut out`"):
        refuse_user_who_may_log_in(paths, "ada")


@pytest.mark.parametrize("user", ["dora", "../bob", ""])
def test_nobody_of_that_name_is_refused(paths: Paths, user: str) -> None:
    with pytest.raises(HomeError, match="there are ada, bob, cy"):
        refuse_user_who_may_log_in(paths, user)


def test_command_says_it_in_one_line_and_asks_first(paths: Paths) -> None:
    env = {"SLIPWAY_HOME": str(paths.home)}
    refused = CliRunner().invoke(main, ["hub", "remove", "ada"], env=env)
    assert (refused.exit_code, refused.output.count("\n")) == (1, 1)
    asked = CliRunner().invoke(main, ["hub", "remove", "bob"], env=env, input="n\n")
    assert asked.exit_code == 1
    assert "Delete the namespace user-bob" in asked.output
    assert paths.hub_home("bob").exists()


def test_volumes_of_an_earlier_release_are_the_user_s_own_and_those_of_claims_are_left_to_their_claims(
    paths: Paths,
) -> None:
    assert earlier_claims(paths, "user-bob") == []
    for name in ("user-bob_photos", "user-bob_photos_uid", "user-bob-2_photos", "user-ada_photos"):
        (paths.data("claims") / name).mkdir(parents=True)
    assert [path.name for path in earlier_claims(paths, "user-bob")] == ["user-bob_photos"]


def test_unix_user_of_somebody_else_is_left_alone() -> None:
    entry = pwd.getpwuid(os.getuid())
    assert remove_unix_user(Identity(entry.pw_uid, 20_000)) is False
    assert remove_unix_user(Identity(59_998, 20_000)) is False
