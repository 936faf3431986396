from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from slipway.onebox.paths import SOCKETS, Paths
from slipway.onebox.services.folders import PASSED_BY_HUB_USERS, ensure_folders
from slipway.onebox.services.hub.homes import ensure_home, write_kubeconfig
from slipway.onebox.services.hub.identity import Identity
from slipway.onebox.services.hub.ownership import acting_as, open_folders
from slipway.onebox.services.hub.prepare import FIRST_FOLDERS

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can give files to another user")
ADA = Identity(43_001, 43_000)


@pytest.fixture
def notebooks(tmp_path: Path) -> Path:
    folder = tmp_path / "notebooks"
    (folder / ".ipynb_checkpoints").mkdir(parents=True)
    (folder / "01-train.ipynb").write_text("{}")
    (folder / "lib").mkdir()
    (folder / "lib" / "large.yaml").write_text("of an environment that somebody made here")
    (folder / "out.weights").write_text("weights")
    return folder


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_new_home_is_private_and_has_the_notebooks(tmp_path: Path, notebooks: Path) -> None:
    home = tmp_path / "homes" / "ada"
    ensure_home(home, owner=None, first_folders=[notebooks])
    assert mode(home) == 0o700
    assert sorted(path.name for path in home.rglob("*")) == ["01-train.ipynb", "notebooks"]
    assert mode(home / "notebooks" / "01-train.ipynb") == 0o600


def test_home_is_never_filled_again(tmp_path: Path, notebooks: Path) -> None:
    home = tmp_path / "homes" / "ada"
    ensure_home(home, owner=None, first_folders=[notebooks])
    (home / "notebooks" / "01-train.ipynb").write_text("mine")
    home.chmod(0o755)
    (notebooks / "02-register.ipynb").write_text("{}")
    ensure_home(home, owner=None, first_folders=[notebooks])
    assert (home / "notebooks" / "01-train.ipynb").read_text() == "mine"
    assert not (home / "notebooks" / "02-register.ipynb").exists()
    assert mode(home) == 0o700


def test_new_home_has_what_hub_md_says_to_apply(tmp_path: Path) -> None:
    """`kubectl apply -k training` is typed at the home."""
    home = tmp_path / "homes" / "ada"
    ensure_home(home, owner=None, first_folders=FIRST_FOLDERS)
    kustomization = yaml.safe_load((home / "training" / "kustomization.yaml").read_text())
    assert kustomization["resources"]
    assert all((home / "training" / name).is_file() for name in kustomization["resources"])
    assert list((home / "notebooks").glob("*.ipynb"))


def test_home_without_notebooks_is_empty(tmp_path: Path) -> None:
    home = tmp_path / "homes" / "ada"
    ensure_home(home, owner=None, first_folders=[tmp_path / "none"])
    assert list(home.iterdir()) == []


def test_kubeconfig_is_its_users_only(tmp_path: Path) -> None:
    write_kubeconfig(tmp_path, {"kind": "Config"}, owner=None)
    file = tmp_path / ".kube" / "config"
    assert yaml.safe_load(file.read_text()) == {"kind": "Config"}
    assert mode(file) == 0o600


@needs_root
def test_home_belongs_to_its_user(tmp_path: Path, notebooks: Path) -> None:
    home = tmp_path / "homes" / "ada"
    ensure_home(home, owner=ADA, first_folders=[notebooks])
    assert {path.stat().st_uid for path in (home, *home.rglob("*"))} == {ADA.uid}


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A folder that everybody may pass; pytest's are closed to other users."""
    folder = Path(tempfile.mkdtemp(prefix="slipway-hub-", dir=SOCKETS))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@needs_root
def test_root_writes_into_a_home_as_its_user(reachable: Path) -> None:
    """A link that the user put there leads to what the user may write, not to what root may."""
    home, target = reachable / "ada", reachable / "roots"
    target.mkdir(mode=0o700)
    home.mkdir()
    os.chown(home, ADA.uid, ADA.uid)
    (home / ".kube").symlink_to(target)
    with pytest.raises(PermissionError):
        write_kubeconfig(home, {"kind": "Config"}, owner=ADA)
    assert list(target.iterdir()) == []
    assert os.geteuid() == 0


@needs_root
def test_users_pass_the_folders_and_see_nothing_else(reachable: Path) -> None:
    paths = Paths(reachable / "home")
    ensure_folders(paths)
    image = paths.images / "sha256" / "1" / "root"
    image.mkdir(parents=True)
    (image / "module.py").write_text("code")
    (image / "module.py").chmod(0o600)
    paths.logs.mkdir()
    paths.settings.write_text("{}")
    open_folders(paths, gid=ADA.shared_gid, images=[image])
    with acting_as(ADA):
        assert (image / "module.py").read_text() == "code"
        for closed in (paths.home.iterdir, paths.logs.iterdir, paths.settings.read_text, paths.images.iterdir):
            with pytest.raises(PermissionError):
                list(closed())
    with acting_as(Identity(ADA.uid + 1, ADA.uid + 1)), pytest.raises(PermissionError):  # not a user of this hub
        (image / "module.py").read_text()
    ensure_folders(paths)  # as every `slipway up` does, while users work
    assert mode(paths.home) == PASSED_BY_HUB_USERS


def test_pipe_that_a_user_puts_in_the_way_holds_nobody_up(tmp_path: Path) -> None:
    """Opening one waits for a reader: with three starts at a time, three such homes would be the end of all starts."""
    scratch = tmp_path / ".kube" / f".config.{os.getpid()}"
    scratch.parent.mkdir()
    os.mkfifo(scratch)
    write_kubeconfig(tmp_path, {"kind": "Config"}, owner=None)
    assert yaml.safe_load((tmp_path / ".kube" / "config").read_text()) == {"kind": "Config"}
    assert sorted(path.name for path in scratch.parent.iterdir()) == ["config"]
