from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from slipway.onebox import paths as paths_module
from slipway.onebox.paths import Paths
from slipway.onebox.services.folders import HomeError, ensure_folders, exclusive, is_own
from slipway.onebox.services.secrets import ensure_secrets


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    (tmp_path / "shared").mkdir()
    monkeypatch.setattr(paths_module, "SOCKETS", tmp_path / "shared")
    return Paths(tmp_path / "a home")


def test_folders_are_made_for_their_owner_only(paths: Paths) -> None:
    ensure_folders(paths)
    ensure_folders(paths)
    assert [folder.stat().st_mode & 0o777 for folder in (paths.home, paths.sockets)] == [0o700, 0o700]
    assert is_own(paths.sockets)


def test_link_in_place_of_the_sockets_folder_is_refused(paths: Paths, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o755)
    paths.sockets.symlink_to(elsewhere)
    with pytest.raises(HomeError, match=f"{paths.sockets}: not a folder of yours"):
        ensure_folders(paths)
    assert elsewhere.stat().st_mode & 0o777 == 0o755
    assert not is_own(paths.sockets)


def test_folder_of_another_user_is_refused(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    ensure_folders(paths)
    mine = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: mine + 1)
    with pytest.raises(HomeError, match=f"{paths.home}: not a folder of yours .uid {mine + 1}. but of uid {mine}"):
        ensure_folders(paths)


def test_folder_of_other_things_is_left_as_it_is(paths: Paths) -> None:
    paths.home.mkdir(mode=0o755)
    (paths.home / "letter.txt").touch()
    with pytest.raises(HomeError, match="not empty, and no home of a platform"):
        ensure_folders(paths)
    assert paths.home.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("sign", [":", "%", '"', "\n"])
def test_name_that_programs_would_misread_is_refused(tmp_path: Path, sign: str) -> None:
    with pytest.raises(HomeError, match="may not contain"):
        ensure_folders(Paths(tmp_path / f"a{sign}b"))


def test_file_in_place_of_the_home_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HomeError, match="Not a directory"):
        ensure_folders(Paths(tmp_path / "file" / "home"))


def test_one_home_has_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    monkeypatch.chdir(tmp_path)
    homes = set()
    for name in ("real", "./real", "real/../real", "link", str(tmp_path / "link")):
        monkeypatch.setenv("SLIPWAY_HOME", name)
        homes.add(Paths.from_env().home)
    assert homes == {tmp_path / "real"}
    monkeypatch.setenv("SLIPWAY_HOME", "")
    assert Paths.from_env().home == tmp_path / ".slipway"


def test_two_at_once_take_turns(paths: Paths) -> None:
    order: list[str] = []

    def second() -> None:
        with exclusive(paths):
            order.append("second")

    with exclusive(paths):
        other = threading.Thread(target=second)
        other.start()
        order.append("first")
    other.join(timeout=10)
    assert order == ["first", "second"]


def test_empty_secret_of_a_full_disk_is_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    before = ensure_secrets(folder)
    (folder / "api-token").write_text("")
    after = ensure_secrets(folder)
    assert len(after.api_token) > 40
    assert after.s3_hash_suffix == before.s3_hash_suffix
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
