"""image.yaml → the build context of a container image: the same files as the local image, and a whole Dockerfile."""

from __future__ import annotations

import hashlib
import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from slipway.cli.images import image_command
from slipway.onebox.images.build import build
from slipway.onebox.images.context import DOCKERFILE, FILES_LABEL, dockerfile, write_context
from slipway.onebox.images.errors import ImageError, InvalidImageFile, SourceError
from slipway.onebox.images.spec import CLASS_PORTS, load_image_spec
from slipway.onebox.images.store import Store
from slipway.onebox.paths import Paths
from tests.data import REPOSITORY

NAME = "me/app:1"
YAML = """
name: me/app
class: app.App
requirements: lock.txt
unhashed: [torch==2.13.0]
env: {GREETING: 'say "$HOME"\\'}
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "image.yaml").write_text(YAML)
    (folder / "lock.txt").write_text("# nothing\n")
    (folder / "app.py").write_text("class App: ...\n")
    (folder / "start").write_text("#!/bin/sh\n")
    (folder / "start").chmod(0o755)
    return folder


def listed(root: Path) -> dict[str, tuple[str, int]]:
    """Path → digest and mode of every file that is not byte code."""
    return {
        str(path.relative_to(root)): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mode & 0o777)
        for path in root.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_a_container_image_holds_the_files_of_the_local_image(source: Path, tmp_path: Path) -> None:
    spec = source / "image.yaml"
    spec.write_text(spec.read_text().replace("unhashed: [torch==2.13.0]\n", ""))  # which pip would fetch
    store = Store(Paths(tmp_path / "home"))
    image = store.find(build(NAME, paths=store.paths, folder=source))
    context = write_context(NAME, tmp_path / "context", folder=source)
    assert image is not None
    assert listed(context.folder / "root") == listed(store.root(image))
    assert listed(context.folder / "root")["start"][1] == 0o555
    assert "slipway/microservice/main.py" in listed(context.folder / "root")
    entrypoint = (context.folder / "Dockerfile").read_text().splitlines()[-1].removeprefix("ENTRYPOINT ")
    assert tuple(json.loads(entrypoint)) == image.entrypoint


def test_a_context_has_the_locks_and_ends_the_common_dockerfile(source: Path, tmp_path: Path) -> None:
    context = write_context(NAME, tmp_path / "context", folder=source, labels={"team": "vision"})
    text = (context.folder / "Dockerfile").read_text()
    assert sorted(path.name for path in context.folder.iterdir()) == [
        "Dockerfile",
        "bill.txt",
        "requirements.txt",
        "root",
        "unhashed.txt",
    ]
    assert (context.folder / "requirements.txt").read_text() == "# nothing\n"
    assert (context.folder / "unhashed.txt").read_text() == "torch==2.13.0\n"
    assert text.startswith(DOCKERFILE.read_text())
    assert text.removeprefix(DOCKERFILE.read_text()).strip().splitlines() == [
        "# me/app",
        'ENV GREETING="say \\"\\$HOME\\"\\\\"',
        "EXPOSE 9000 9500 6000",
        'LABEL org.opencontainers.image.title="me/app"',
        'LABEL org.opencontainers.image.version="1"',
        f'LABEL {FILES_LABEL}="{context.files_digest}"',
        'LABEL team="vision"',
        'ENTRYPOINT ["python", "-m", "slipway.microservice", "app.App"]',
    ]


@pytest.mark.parametrize(("place", "code"), [("app.py", 1), ("app/templates/new.py", 0)])
def test_what_does_not_compile_is_no_image_unless_it_is_a_template(tmp_path: Path, place: str, code: int) -> None:
    """The line of the Dockerfile, run here."""
    (line,) = [line for line in DOCKERFILE.read_text().splitlines() if "compileall" in line]
    _, _, *words = shlex.split(line.replace("/opt/slipway/app", str(tmp_path)))
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / place).write_text("def {{ name }}():\n")
    (tmp_path / "good.py").write_text("A = 1\n")
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert ("SyntaxError" in done.stdout) == bool(code)
    assert list((tmp_path / "__pycache__").glob("good.*.pyc"))


def test_the_label_of_the_files_changes_with_a_file_and_its_mode_only(source: Path, tmp_path: Path) -> None:
    def digest(number: int, name: str = NAME) -> str:
        return write_context(name, tmp_path / str(number), folder=source).files_digest

    first = digest(1)
    assert digest(2, "me/app:2") == first
    (source / "start").chmod(0o644)
    second = digest(3)
    (source / "app.py").write_text("class App: pass\n")
    assert len({first, second, digest(4)}) == 3


def test_a_folder_that_holds_something_is_not_written_to(source: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "work.txt").write_text("")
    with pytest.raises(ImageError, match="not an empty folder"):
        write_context(NAME, tmp_path / "mine", folder=source)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["work.txt"]


def test_a_source_that_is_not_there_is_said(source: Path, tmp_path: Path) -> None:
    (source / "lock.txt").unlink()
    with pytest.raises(SourceError, match=r"lock\.txt"):
        write_context(NAME, tmp_path / "context", folder=source)


@pytest.mark.parametrize("ports", ["80", "[0]", "[65536]", "['80']", "[true]", "[1.5]"])
def test_ports_are_numbers_of_ports(source: Path, ports: str) -> None:
    (source / "image.yaml").write_text(f"{YAML}ports: {ports}\n")
    with pytest.raises(InvalidImageFile, match="ports: "):
        load_image_spec(source)


def test_a_component_listens_where_the_contract_says() -> None:
    assert load_image_spec(REPOSITORY / "images" / "yolo-detector").ports == CLASS_PORTS
    assert load_image_spec(REPOSITORY / "images" / "microservice").ports == CLASS_PORTS
    assert load_image_spec(REPOSITORY / "images" / "storage-initializer").ports == ()


@given(st.text(st.characters(codec="utf-8", exclude_characters="\n\r\0")))
def test_a_value_in_a_dockerfile_is_what_it_was(value: str) -> None:
    spec = load_image_spec(REPOSITORY / "images" / "executor")
    line = next(line for line in dockerfile("", spec, {"key": value}).split("\n") if line.startswith("LABEL"))
    assert read(line.removeprefix("LABEL key=")) == value


def read(quoted: str) -> str:
    """What Docker makes of a word in double quotes: an escape is the character after it, nothing else may be special."""
    assert quoted.startswith('"')
    assert quoted.endswith('"')
    kept, rest = "", iter(quoted[1:-1])
    for char in rest:
        assert char not in '"$'
        kept += next(rest) if char == "\\" else char
    return kept


@pytest.mark.parametrize("value", ["a\nb", "a\rRUN id"])
def test_a_value_of_two_lines_is_refused(value: str) -> None:
    spec = load_image_spec(REPOSITORY / "images" / "executor")
    with pytest.raises(ImageError, match="one line"):
        dockerfile("", spec, {"key": value})


def test_the_command_says_what_it_wrote(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "context"
    done = CliRunner().invoke(image_command, ["context", NAME, str(target), str(source), "--label", "team=vision"])
    assert done.exit_code == 0, done.output
    assert done.output.startswith(f"{target}: me/app:1, files sha256:")
    again = CliRunner().invoke(image_command, ["context", NAME, str(target), str(source)])
    assert (again.exit_code, "not an empty folder" in again.output) == (1, True)
    wrong = CliRunner().invoke(image_command, ["context", NAME, str(tmp_path / "x"), str(source), "--label", "team"])
    assert (wrong.exit_code, "KEY=VALUE" in wrong.output) == (2, True)
