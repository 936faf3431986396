"""`make images`: which images, which words for the engine, what is said where there is none. The engine is a script."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path

import pytest

from scripts import images
from scripts.images import BuildFailed, Options, build, build_argv, chosen, known_engine, reference
from slipway.onebox.images.errors import ImageError
from slipway.onebox.images.spec import load_image_spec
from tests.data import REPOSITORY

ENGINE = """#!{python}
import json, pathlib, sys
log = pathlib.Path({log!r})
words = sys.argv[1:]
with log.open("a") as file:
    file.write(json.dumps(words) + "\\n")
if words[0] == "build":
    context = pathlib.Path(words[-1])
    assert (context / "Dockerfile").read_text().endswith("]\\n") and (context / "root").is_dir()
elif words[0] == "create":
    print("container-1")
elif words[0] == "cp":
    pathlib.Path(words[2]).write_text("{{}}")
elif words[0] == "image":
    print("350000000 sha256:" + "a" * 64)
sys.exit({code})
"""


def engine(folder: Path, *, code: int = 0) -> tuple[str, Path]:
    """(the program, its log of command lines)."""
    program, log = folder / "engine", folder / "log"
    program.write_text(ENGINE.format(python=sys.executable, log=str(log), code=code))
    program.chmod(0o755)
    return str(program), log


def specs() -> list[images.ImageSpec]:
    return [load_image_spec(path.parent) for path in sorted((REPOSITORY / "images").glob("*/image.yaml"))]


def test_every_image_of_a_cluster_is_built_and_those_of_one_lock_follow_each_other() -> None:
    found = chosen(specs(), [])
    names = {spec.name for spec in found}
    assert names >= {
        "slipway/controller",
        "slipway/executor",
        "slipway/image-transformer",
        "slipway/microservice",
        "slipway/mlflow",
        "slipway/notebook-minimal",
        "slipway/notebook-spark",
        "slipway/storage-initializer",
        "slipway/yolo-detector",
        "slipway/yolo-detector-gpu",
    }
    assert "slipway/jupyterhub" not in names
    locks = [spec.requirements for spec in found]
    assert len(list(itertools.groupby(locks))) == len(set(locks))


def test_names_are_taken_with_and_without_their_prefix() -> None:
    found = chosen(specs(), ["executor", "slipway/executor", "slipway/jupyterhub"])
    assert [spec.name for spec in found] == ["slipway/jupyterhub", "slipway/executor"]
    with pytest.raises(ImageError, match="slipway/executer`; there are: .*slipway/executor"):
        chosen(specs(), ["executer"])


def test_an_engine_gets_only_what_was_said() -> None:
    assert build_argv("slipway/executor", Path("c"), Options("podman", tag="1")) == [
        "podman", "build", "--tag", "docker.io/slipway/executor:1", "c",
    ]  # fmt: skip
    whole = Options("docker", "base:1", "build:1", "linux/arm64", "registry.example/vision/", "1", ("--no-cache",))
    assert build_argv("slipway/executor", Path("c"), whole) == [
        "docker", "build", "--tag", "registry.example/vision/slipway/executor:1",
        "--build-arg", "BASE_IMAGE=base:1", "--build-arg", "BUILD_IMAGE=build:1",
        "--platform", "linux/arm64", "--no-cache", "c",
    ]  # fmt: skip
    assert reference("slipway/executor", Options("docker", tag="1.10")) == "docker.io/slipway/executor:1.10"


def test_an_image_is_built_its_bill_copied_and_its_digest_told(tmp_path: Path) -> None:
    program, log = engine(tmp_path)
    spec = load_image_spec(REPOSITORY / "images" / "storage-initializer")
    line = build(spec, Options(program, tag="1"), labels={"a": "b"}, bills=tmp_path / "bills")
    assert line == f"docker.io/slipway/storage-initializer:1  350 MB  sha256:{'a' * 64}"
    assert (tmp_path / "bills" / "storage-initializer.cdx.json").read_text() == "{}"
    commands = [json.loads(text)[0] for text in log.read_text().splitlines()]
    assert commands == ["build", "create", "cp", "rm", "image"]


def test_a_refusal_of_the_engine_is_passed_on(tmp_path: Path) -> None:
    program, _ = engine(tmp_path, code=3)
    spec = load_image_spec(REPOSITORY / "images" / "storage-initializer")
    with pytest.raises(BuildFailed, match=r"failed \(exit 3\)"):
        build(spec, Options(program), labels={}, bills=tmp_path)


def test_without_an_engine_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BuildFailed, match=r"docker and podman: not on PATH: .* docker\.io"):
        known_engine("")
    with pytest.raises(BuildFailed, match="podman: not on PATH"):
        known_engine("podman")


def test_the_command_ends_with_one_line_where_an_image_is_unknown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["images", "executer", "--engine=", "--", "--no-cache"])
    assert images.main() == 1
    assert capsys.readouterr().err.startswith("images: no image.yaml says")
