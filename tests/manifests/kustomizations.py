"""What kustomizations name, and what kubectl builds of them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.data import REPOSITORY
from tests.manifests.files import KUSTOMIZATION, load, manifests, shown, strictly

LISTS = ("resources", "components", "configurations", "crds", "generators", "transformers", "validators")
"""Fields whose items are paths, after kustomize's own types.Kustomization."""
PATCHES = ("patches", "replacements")
GENERATORS = ("configMapGenerator", "secretGenerator")
BUILD_S = 30.0
IS_TOLD: list[str] = []
"""The test of this run that fails where a manifest cannot be read; without one every build of it fails."""
Object = dict[str, Any]


class BuildError(Exception):
    """What kubectl says where it builds nothing, or something with a warning."""


@dataclass(frozen=True)
class Unreached:
    path: Path

    def __str__(self) -> str:
        return f"{shown(self.path)}: no kustomization names it in resources, patches or components"


def named(folder: Path) -> Iterator[Path]:
    """Every file and folder that the kustomization of ``folder`` reads."""
    content = load(folder / KUSTOMIZATION)
    for name in LISTS:
        yield from (_resolved(folder, item) for item in content.get(name) or ())
    for name in PATCHES:
        yield from (_resolved(folder, item["path"]) for item in content.get(name) or () if "path" in item)
    for name in GENERATORS:
        for item in content.get(name) or ():
            texts = [*(item.get("files") or ()), *(item.get("envs") or ())]
            yield from (_resolved(folder, text.rpartition("=")[2]) for text in texts)


def _resolved(folder: Path, text: str) -> Path:
    return (folder / text).resolve()


def unreached(files: Iterable[Path]) -> list[Unreached]:
    """Manifests that nothing names, and components that nothing uses."""
    given = sorted(files)
    own = [path for path in given if path.name == KUSTOMIZATION]
    used = {item for path in own for item in named(path.parent)}
    alone = {path for path in own if load(path).get("kind") != "Component"}
    return [
        Unreached(path)
        for path in given
        if path not in alone and (path.parent if path in own else path).resolve() not in used
    ]


@cache
def unreadable() -> tuple[str, ...]:
    """What is wrong with the text of this repository's manifests: file, line, what."""
    return tuple(fault for path in manifests() for fault in strictly(path))


@cache
def built(folder: Path) -> list[Object]:
    """The documents of a kustomization. Raises BuildError, for kubectl's warnings too."""
    kubectl = shutil.which("kubectl")
    assert kubectl, "kubectl is not here: these tests build with it"
    argv = [kubectl, "kustomize", str(folder)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=BUILD_S)
    if done.returncode or done.stderr:
        if folder.is_relative_to(REPOSITORY) and (faults := unreadable()):
            end = pytest.skip if IS_TOLD else pytest.fail
            end(f"{shown(folder)} is not built: {faults[0]}")
        raise BuildError(f"{shown(folder)}: {done.stderr.strip()}")
    return [document for document in yaml.load_all(done.stdout, Loader=yaml.CSafeLoader) if document]
