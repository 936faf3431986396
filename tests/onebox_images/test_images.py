"""image.yaml → an immutable local image, its digest and its tags."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from slipway.cli.images import image_command
from slipway.onebox.images.build import build, ensure
from slipway.onebox.images.environment import WAITING, lock_of, shared
from slipway.onebox.images.errors import (
    EnvironmentFailed,
    ImageError,
    InvalidImageFile,
    InvalidReference,
    NotBuilt,
    SourceError,
)
from slipway.onebox.images.reference import Reference, parse_reference
from slipway.onebox.images.spec import load_image_spec
from slipway.onebox.images.store import Store
from slipway.onebox.paths import Paths
from slipway.onebox.services.hub.running import Running, forget_running, write_running
from tests.data import REPOSITORY
from tests.waiting import wait_until

NAME = "me/app:1"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "repo" / "images" / "app"
    folder.mkdir(parents=True)
    (folder / "image.yaml").write_text("name: me/app\nentrypoint: [python, app.py]\nrequirements: none.txt\n")
    (folder / "none.txt").write_text("")
    (folder / "app.py").write_text("print('one')\n")
    return folder


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(tmp_path / "home")


def test_the_same_sources_have_the_same_digest_in_any_folder(source: Path, paths: Paths, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    copy.mkdir()
    for path in source.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    (copy / "__pycache__").mkdir()
    (copy / "__pycache__" / "app.cpython-311.pyc").write_bytes(b"\0")
    assert build(NAME, paths=paths, folder=source) == build(NAME, paths=Paths(tmp_path / "other"), folder=copy)


@pytest.mark.parametrize("change", ["source", "mode", "lock", "entrypoint", "env", "new file"])
def test_every_change_is_a_new_digest_and_the_old_one_stays(source: Path, paths: Paths, change: str) -> None:
    first = build(NAME, paths=paths, folder=source)
    spec = source / "image.yaml"
    if change == "source":
        (source / "app.py").write_text("print('two')\n")
    elif change == "mode":
        (source / "app.py").chmod(0o755)
    elif change == "lock":
        (source / "none.txt").write_text("# nothing\n")
    elif change == "entrypoint":
        spec.write_text(spec.read_text().replace("app.py", "other.py"))
    elif change == "env":
        spec.write_text(spec.read_text() + "env: {A: b}\n")
    else:
        (source / "more.txt").write_text("")
    second = build(NAME, paths=paths, folder=source)
    store = Store(paths)
    old = store.find(first)
    assert second != first
    assert store.resolve(NAME).digest == second
    assert old is not None
    assert (store.root(old) / "app.py").read_text() == "print('one')\n"


def test_an_image_cannot_be_written_to(source: Path, paths: Paths) -> None:
    store = Store(paths)
    image = store.find(build(NAME, paths=paths, folder=source))
    assert image is not None
    for folder, _, files in os.walk(store.root(image)):
        for name in (folder, *(str(Path(folder, name)) for name in files)):
            assert not Path(name).stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH)


def test_building_again_writes_nothing(source: Path, paths: Paths) -> None:
    digest = build(NAME, paths=paths, folder=source)
    folder = Store(paths).folder(digest)
    before = folder.stat().st_ino, (folder / "manifest.json").stat().st_mtime_ns
    assert build(NAME, paths=paths, folder=source) == digest
    assert (folder.stat().st_ino, (folder / "manifest.json").stat().st_mtime_ns) == before


def test_two_tags_of_one_image_live_side_by_side(source: Path, paths: Paths) -> None:
    first = build("me/app:1", paths=paths, folder=source)
    (source / "app.py").write_text("print('two')\n")
    second = build("me/app:2", paths=paths, folder=source)
    store = Store(paths)
    assert (store.resolve("me/app:1").digest, store.resolve("me/app:2").digest) == (first, second)
    assert store.resolve(f"me/app@{first}").digest == first


def test_builds_at_the_same_time_do_not_disturb_each_other(source: Path, paths: Paths) -> None:
    with ThreadPoolExecutor(4) as pool:
        digests = set(pool.map(lambda n: build(f"me/app:{n}", paths=paths, folder=source), range(4)))
    assert len(digests) == 1
    assert [row.tag for row in Store(paths).rows()] == ["0", "1", "2", "3"]


def test_a_class_image_serves_its_class_and_carries_what_serves_it() -> None:
    spec = load_image_spec(REPOSITORY / "images" / "yolo-detector")
    assert spec.entrypoint == ("python", "-m", "slipway.microservice", "model_wrappers.yolo_detector.YoloDetector")
    assert spec.packages == ("model_wrappers", "slipway.contract", "slipway.serving", "slipway.microservice")


def test_a_dotted_package_comes_with_the_init_files_of_its_parents(source: Path, paths: Paths) -> None:
    (source / "image.yaml").write_text(
        "name: me/app\nentrypoint: [python]\nrequirements: none.txt\npackages: [slipway.registry]\n"
    )
    store = Store(paths)
    image = store.find(build(NAME, paths=paths, folder=source))
    assert image is not None
    root = store.root(image)
    assert (root / "slipway" / "__init__.py").is_file()
    assert (root / "slipway" / "registry" / "__init__.py").is_file()
    assert not (root / "slipway" / "onebox").exists()


def test_the_environment_runs_the_image(source: Path, paths: Paths) -> None:
    store = Store(paths)
    image = store.find(build(NAME, paths=paths, folder=source))
    assert image is not None
    python = store.environment(image) / "bin" / "python"
    done = subprocess.run([python, store.root(image) / "app.py"], capture_output=True, text=True, check=True)
    assert done.stdout == "one\n"


def test_a_package_that_the_lock_does_not_vouch_for_is_refused(source: Path, paths: Paths) -> None:
    (source / "none.txt").write_text("click==8.1.8\n")
    with pytest.raises(EnvironmentFailed, match="hash"):
        build(NAME, paths=paths, folder=source)
    assert not list(paths.environments.glob("*/bin"))


def test_prune_keeps_what_a_tag_or_a_pod_needs(source: Path, paths: Paths) -> None:
    store = Store(paths)
    digests = []
    for number in range(3):
        (source / "app.py").write_text(f"print({number})\n")
        digests.append(build(NAME, paths=paths, folder=source))
    pod = paths.pod("default", "p", "uid")
    pod.mkdir(parents=True)
    (pod / "state.json").write_text(json.dumps({"namespace": "default", "name": "p", "images": {"main": digests[0]}}))
    assert [image.digest for image in store.prune()] == [digests[1]]
    assert [(row.tag, row.pods) for row in store.rows()] == [(None, ("default/p",)), ("1", ())]
    (pod / "state.json").unlink()
    store.untag(NAME)
    assert len(store.prune()) == 2
    assert store.rows() == []
    assert not list(paths.environments.iterdir())


def test_prune_keeps_what_runs_at_the_hub(source: Path, paths: Paths) -> None:
    """A server goes on with the image that it was started from, whose tag moved on since."""
    store = Store(paths)
    digests = []
    for number in range(2):
        (source / "app.py").write_text(f"print({number})\n")
        digests.append(build(NAME, paths=paths, folder=source))
    write_running(paths, Running("ada", digests[0]))
    assert store.prune() == []
    assert [(row.tag, row.pods) for row in store.rows()] == [(None, ("hub/ada",)), ("1", ())]
    forget_running(paths, "ada")
    assert [image.digest for image in store.prune()] == [digests[0]]


def test_an_image_that_was_never_built_says_how_to_build_it(paths: Paths) -> None:
    with pytest.raises(NotBuilt, match="slipway image build me/app:7") as caught:
        Store(paths).resolve("me/app:7")
    assert caught.value.command == "slipway image build me/app:7 FOLDER"
    with pytest.raises(NotBuilt) as caught:
        Store(paths).resolve("slipway/yolo-detector:7")  # its image.yaml is found without
    assert caught.value.command == "slipway image build slipway/yolo-detector:7"


def test_ensure_builds_what_is_missing_and_follows_the_sources(source: Path, paths: Paths) -> None:
    repository = source.parents[1]
    first = ensure([NAME], paths, repository=repository)
    assert ensure([NAME], paths, repository=repository) == first
    (source / "app.py").write_text("print('two')\n")
    assert ensure([NAME], paths, repository=repository) != first


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "expected a mapping"),
        ("name: me/app", "exactly one of `class` and `entrypoint`"),
        ("name: me/app\nclass: a.B\nentrypoint: [x]", "exactly one of"),
        ("name: me/app:1\nclass: a.B", "carries a tag"),
        ("name: ME\nclass: a.B", "not an image name"),
        ("class: a.B", "name: a text is needed"),
        ("name: me/app\nclass: 'a b'", "class: 'a b'"),
        ("name: me/app\nclass: a.B\nsource: [.]", "unknown keys ['source']"),
        ("name: me/app\nclass: a.B\nsources: here", "sources: 'here' is not a list"),
        ("name: me/app\nclass: a.B\nenv: {A: 1}", "quote numbers"),
        ("name: me/app\nclass: a.B\npackages: ['../x']", "packages: '../x'"),
        ("name: me/app\nclass: a.B\nunhashed: torch==1.0", "unhashed: 'torch==1.0' is not a list"),
        ("name: me/app\nclass: a.B\nunhashed: [torch]", "unhashed: 'torch' is not an exact pin"),
        ("name: me/app\nclass: a.B\nunhashed: [torch>=2]", "unhashed: 'torch>=2' is not an exact pin"),
        ("name: me/app\nclass: a.B\nunhashed: ['--index-url=x==1']", "is not an exact pin"),
        ("name: [", "not YAML"),
    ],
)
def test_a_wrong_image_file_is_named_with_its_key(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "image.yaml").write_text(text)
    with pytest.raises(InvalidImageFile) as caught:
        load_image_spec(tmp_path)
    assert str(tmp_path / "image.yaml") in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("sources", "message"), [("['../..']", "leaves the folder"), ("[nothing.py]", "does not exist")]
)
def test_wrong_sources_are_refused(source: Path, paths: Paths, sources: str, message: str) -> None:
    path = source / "image.yaml"
    path.write_text(path.read_text() + f"sources: {sources}\n")
    with pytest.raises(SourceError, match=message):
        build(NAME, paths=paths, folder=source)


def test_a_pipe_among_the_sources_is_refused_and_not_read(source: Path, paths: Paths) -> None:
    os.mkfifo(source / "pipe")
    with pytest.raises(SourceError, match="not a plain file"):
        build(NAME, paths=paths, folder=source)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("app", Reference("app", "latest")),
        ("me/app:0.1.0", Reference("me/app", "0.1.0")),
        ("localhost:5000/me/app:v1", Reference("localhost:5000/me/app", "v1")),
        (f"me/app:1@sha256:{'a' * 64}", Reference("me/app", "1", f"sha256:{'a' * 64}")),
    ],
)
def test_references_are_read_as_manifests_write_them(text: str, expected: Reference) -> None:
    assert parse_reference(text) == expected


@given(st.text(max_size=300))
def test_any_text_is_a_reference_or_an_error(text: str) -> None:
    """And a reference never leads out of the tags' folder."""
    try:
        reference = parse_reference(text)
    except InvalidReference:
        return
    store = Store(Paths(Path("/home")))
    tag = store.tag_file(reference.name, reference.tag)
    assert tag.parents[1] == Path("/home/images/tags")
    assert tag.name not in (".", "..")


def test_the_command_line_builds_lists_and_deletes(source: Path, paths: Paths) -> None:
    runner, env = CliRunner(), {"SLIPWAY_HOME": str(paths.home)}
    built = runner.invoke(image_command, ["build", "-q", NAME, str(source)], env=env)
    assert built.exit_code == 0
    assert built.stdout.startswith("sha256:")
    listed = runner.invoke(image_command, ["list"], env=env)
    assert listed.stdout.splitlines()[1].split()[:3] == ["me/app", "1", built.stdout[7:19]]
    as_json = json.loads(runner.invoke(image_command, ["list", "--json"], env=env).stdout)
    assert as_json[0]["digest"] == built.stdout.strip()
    assert runner.invoke(image_command, ["delete", NAME], env=env).exit_code == 0
    assert "1 images removed" in runner.invoke(image_command, ["prune"], env=env).stdout


def test_a_wrong_command_is_one_line_and_exit_code_1(paths: Paths, source: Path) -> None:
    done = CliRunner().invoke(
        image_command, ["build", "other/name:1", str(source)], env={"SLIPWAY_HOME": str(paths.home)}
    )
    assert done.exit_code == 1
    assert done.stderr.count("\n") == 1
    assert "name: me/app" in done.stderr


@contextmanager
def held(lock: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the lock file to itself."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    program = "import fcntl, sys; f = open(sys.argv[1], 'a'); fcntl.flock(f, fcntl.LOCK_EX); print('held', flush=True); input()"
    argv = [sys.executable, "-c", program, str(lock)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield holder
        holder.kill()


@pytest.mark.parametrize("is_same_environment", [False, True])
def test_a_build_says_that_it_waits_for_another_process_and_goes_on_when_it_dies(
    source: Path, paths: Paths, *, is_same_environment: bool
) -> None:
    lock = Store(paths).lock_file
    if is_same_environment:
        first = build(NAME, paths=paths, folder=source)
        image = Store(paths).find(first)
        assert image is not None
        lock = lock_of(Store(paths).environment(image))
    with held(lock) as holder, ThreadPoolExecutor(1) as pool:
        said: list[str] = []
        building = pool.submit(build, NAME, paths=paths, folder=source, progress=said.append)
        wait_until(lambda: said == [WAITING])
        assert not building.done()
        holder.kill()
        assert building.result(timeout=30).startswith("sha256:")


def test_a_build_does_not_wait_while_another_environment_is_installed(source: Path, paths: Paths) -> None:
    said: list[str] = []
    with (
        held(lock_of(paths.environments / ("0" * 64))),
        shared(Store(paths).lock_file, progress=said.append),
    ):
        assert build(NAME, paths=paths, folder=source, progress=said.append).startswith("sha256:")
    assert WAITING not in said


def test_an_unknown_name_lists_the_known_ones(source: Path, paths: Paths) -> None:
    with pytest.raises(ImageError, match="there are: me/app"):
        build("you/app:1", paths=paths, repository=source.parents[1])


def test_a_source_that_is_being_edited_gives_an_image_of_one_of_its_states(
    source: Path, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = shutil.copyfile
    edits = iter(["print('two')\n", "print('three')\n"])

    def edited(origin: Path, target: Path) -> None:
        if Path(origin).name == "app.py" and (text := next(edits, None)):
            Path(origin).write_text(text)
        copy(origin, target)

    monkeypatch.setattr(shutil, "copyfile", edited)
    store = Store(paths)
    image = store.find(build(NAME, paths=paths, folder=source))
    assert image is not None
    assert (store.root(image) / "app.py").read_text() == "print('three')\n"
    assert not list((paths.images / "sha256").glob("*.tmp"))
