"""docs/compose.md: each command fits its program and the file, each service, path and link is there."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator

import pytest

from tests.compose.files import services
from tests.data import REPOSITORY
from tests.docs import compose, programs, prose
from tests.docs.commands import Command, commands, options
from tests.docs.findings import assert_none
from tests.helm_values.charts import tables

PAGE = REPOSITORY / "docs" / "compose.md"
TEXT = PAGE.read_text()
INLINE = re.compile(r"`([a-z]+ [^`\n]+)`")
SCRIPT = "compose/make-secrets"
WHOLE = ("docker compose ", "python -m ")
"""How a command in the text begins; others in backquotes are names of programs."""
COMMANDS = [
    *commands(TEXT),
    *(Command(0, tuple(shlex.split(text))) for text in INLINE.findall(TEXT) if text.startswith(WHOLE)),
]


def complain(command: Command) -> Iterator[str]:
    if command.program == "docker":
        yield from compose.complain(command, services())
    elif command.program == "make":
        yield from programs.complain_of_make(command, REPOSITORY / "Makefile")
        images = next(iter(options(command.words, "IMAGES")), "").split()
        used = {item["image"].partition(":")[0] for item in services().values()}
        wanted = sorted(name.removeprefix("slipway/") for name in used if name.startswith("slipway/"))
        if images != wanted:
            yield f"{command}: compose.yaml runs {' '.join(wanted)}"
    elif command.program == "python":
        yield from programs.complain_of_module(command, REPOSITORY)
    elif command.program == SCRIPT:
        if not os.access(REPOSITORY / SCRIPT, os.X_OK):
            yield f"{command}: cannot be run"
    else:
        yield from programs.complain_of_external(command)


def one(line: str) -> Command:
    (found,) = commands(f"```bash\n{line}\n```\n")
    return found


def test_every_command_is_taken() -> None:
    assert {command.program for command in COMMANDS} == {"make", SCRIPT, "docker", "curl", "python"}
    assert sum(command.program == "docker" for command in COMMANDS) > 3
    assert_none(said for command in COMMANDS for said in complain(command))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("docker compose upp --wait", "not one of docker compose"),
        ("docker compose up --waitt", "up has no flag --waitt"),
        ("docker compose up --detach yolo-detectr", "no service yolo-detectr"),
        ("docker compose run --rm registr python", "no service registr"),
        ("docker compose run --rm", "run names no service"),
        ("docker compose run --rm register python -m slipway.cli.main model register mine --cfgg a", "--cfgg"),
        ("make images IMAGES='cli executor'", "compose.yaml runs cli executor image-transformer"),
        (
            "docker compose run --volume a:/b register python -m slipway.cli.main model register c --cfg /d/e",
            "'/d/e' does not exist",
        ),
        ("make imagez", "no target imagez"),
        ("python -m scripts.composed", "not a module"),
        ("compose/make-secretz", "nothing is known about compose/make-secretz"),
    ],
)
def test_wrong_command_is_found(line: str, said: str) -> None:
    assert any(said in found for found in complain(one(line)))


def test_flags_of_what_runs_inside_are_its_own() -> None:
    use = compose.used(one("docker compose run --rm --volume a:b register python -m c --help").words)
    assert use == compose.Use(("register",), ("--rm", "--volume"), ("python", "-m", "c", "--help"))


def test_table_has_every_service() -> None:
    (rows,) = [table for table in tables(TEXT) if "service" in table[0]]
    assert sorted(name for row in rows for name in re.findall(r"`([\w-]+)`", row["service"])) == sorted(services())


def test_ports_of_the_page_are_those_that_are_open() -> None:
    opened = {text.split(":")[1] for service in services().values() for text in service.get("ports") or ()}
    assert set(re.findall(r"localhost:(\d+)", TEXT)) == opened


def test_links_lead_somewhere() -> None:
    assert_none(prose.complain_of_links(PAGE))


def test_paths_in_the_text_exist() -> None:
    found = prose.paths(TEXT, {entry.name for entry in REPOSITORY.iterdir() if entry.is_dir()})
    drawn = "compose/secrets"
    assert {"seldon/base/yolo", "mlflow/base/deployment.yaml", "models/shapes"} <= set(found)
    assert_none(
        f"{path} does not exist" for path in found if not (path.startswith(drawn) or (REPOSITORY / path).exists())
    )
