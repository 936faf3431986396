"""Exact pins that no lock vouches for: installed by pip on top of the locked set, part of the environment's address."""

from __future__ import annotations

import hashlib
import subprocess
import zipfile
from pathlib import Path

import pytest

from slipway.onebox.images.build import build
from slipway.onebox.images.errors import EnvironmentFailed
from slipway.onebox.images.store import Image, Store
from slipway.onebox.paths import Paths

NAME = "me/app:1"
FORM = "name: me/app\nentrypoint: [python, app.py]\nrequirements: none.txt\n"


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels that is all pip can find."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "image.yaml").write_text(FORM)
    (folder / "none.txt").write_text("")
    (folder / "app.py").write_text("import bigtensor; print(bigtensor.VERSION)\n")
    return folder


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(tmp_path / "home")


def make_wheel(folder: Path, name: str, version: str, *, requires: str = "") -> Path:
    """A package with one module and one command."""
    info = f"{name}-{version}.dist-info"
    needs = f"Requires-Dist: {requires}\n" if requires else ""
    members = {
        f"{name}.py": f"VERSION = {version!r}\n\n\ndef main():\n    print(VERSION)\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: a test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{name} = {name}:main\n",
    }
    members[f"{info}/RECORD"] = "".join(f"{member},,\n" for member in (*members, f"{info}/RECORD"))
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for member, content in members.items():
            wheel.writestr(member, content)
    return path


def pin(source: Path, *pins: str) -> None:
    (source / "image.yaml").write_text(f"{FORM}unhashed: [{', '.join(pins)}]\n")


def built(source: Path, paths: Paths) -> Image:
    image = Store(paths).find(build(NAME, paths=paths, folder=source))
    assert image is not None
    return image


def output(*argv: str | Path) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()


def test_a_pin_is_installed_and_its_commands_run(source: Path, paths: Paths, wheels: Path) -> None:
    make_wheel(wheels, "bigtensor", "1.0")
    make_wheel(wheels, "bigtensor", "2.0")
    pin(source, "bigtensor==1.0")
    store, image = Store(paths), built(source, paths)
    commands = store.environment(image) / "bin"
    assert output(commands / "python", store.root(image) / "app.py") == "1.0"
    assert output(commands / "bigtensor") == "1.0"
    assert not list(paths.environments.glob("*.txt"))


def test_the_pins_are_part_of_the_environments_address(source: Path, paths: Paths, wheels: Path) -> None:
    without = built(source, paths)
    environments = [without.environment]
    for version in ("1.0", "2.0"):
        make_wheel(wheels, "bigtensor", version)
        pin(source, f"bigtensor=={version}")
        environments.append(built(source, paths).environment)
    assert len(set(environments)) == 3
    assert len(list(paths.environments.glob("*/"))) == 3


def test_a_pin_that_cannot_be_had_leaves_no_environment(source: Path, paths: Paths, wheels: Path) -> None:
    make_wheel(wheels, "bigtensor", "1.0")
    pin(source, "bigtensor==3.0")
    with pytest.raises(EnvironmentFailed, match=r"(?s)pip install failed.*bigtensor==3\.0"):
        build(NAME, paths=paths, folder=source)
    assert list(paths.environments.glob("*/")) == []


@pytest.mark.parametrize(("need", "is_met"), [("small>=1", True), ("small>=2", False)])
def test_a_pins_needs_are_met_by_the_locked_versions_or_not_at_all(
    source: Path, paths: Paths, wheels: Path, need: str, is_met: bool
) -> None:
    locked = make_wheel(wheels, "small", "1.0")
    make_wheel(wheels, "small", "2.0")
    make_wheel(wheels, "bigtensor", "1.0", requires=need)
    (source / "none.txt").write_text(f"small==1.0 --hash=sha256:{hashlib.sha256(locked.read_bytes()).hexdigest()}\n")
    pin(source, "bigtensor==1.0")
    if is_met:
        assert output(Store(paths).environment(built(source, paths)) / "bin" / "small") == "1.0"
    else:
        with pytest.raises(EnvironmentFailed, match="(?i)conflict"):
            build(NAME, paths=paths, folder=source)
