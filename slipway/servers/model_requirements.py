"""What an MLflow model says it needs, beside what this image has."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

import yaml
from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import InvalidVersion, Version

from slipway.servers.errors import ModelFolderError

REQUIREMENTS_NAME, PYTHON_NAME = "requirements.txt", "python_env.yaml"
POLICIES = ("compatible", "exact", "any")
STAND_INS = {"mlflow": "mlflow-skinny", "xgboost": "xgboost-cpu", "opencv-python": "opencv-python-headless"}
"""Distributions that bring the same modules under another name."""
HOW = "build an image with the model's own lock file (docs/servers.md, 'A model with other requirements'), or set the parameter requirements to any"

Grade = Literal["missing", "breaking", "other", "unreadable"]


@dataclass(frozen=True)
class Difference:
    """``grade``: ``breaking`` is another major version (before 1.0: minor), ``other`` a smaller one."""

    grade: Grade
    text: str


def check_requirements(folder: Path, *, policy: str) -> list[str]:
    """Compare ``requirements.txt`` and the Python of ``python_env.yaml``; the differences that the policy lets pass.

    ``compatible`` refuses missing packages and other major versions, ``exact`` every difference, ``any`` none. Raises
    ModelFolderError with all that is refused, and what to do.
    """
    if policy not in POLICIES:
        raise ModelFolderError(f"parameter requirements: {policy!r} is not one of {', '.join(POLICIES)}")
    found = [*_packages(folder / REQUIREMENTS_NAME), *_python(folder / PYTHON_NAME)]
    refused = {
        "compatible": ("missing", "breaking"),
        "exact": ("missing", "breaking", "other", "unreadable"),
        "any": (),
    }
    bad = [difference.text for difference in found if difference.grade in refused[policy]]
    if bad:
        raise ModelFolderError(f"{folder}: this image is not what the model asks for: {'; '.join(bad)}: {HOW}")
    return [f"{folder}: {difference.text}" for difference in found]


def _packages(path: Path) -> Iterator[Difference]:
    if not path.is_file():
        return
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1):
        text = line.partition(" #")[0].partition(" --hash")[0].strip().removesuffix("\\").strip()
        if not text or text.startswith(("#", "--hash")):
            continue
        try:
            wanted = Requirement(text)
        except InvalidRequirement:
            yield Difference("unreadable", f"{path.name}:{number}: {text[:80]!r} is not compared")
            continue
        if wanted.marker is None or wanted.marker.evaluate():
            yield from _package(wanted)


def _package(wanted: Requirement) -> Iterator[Difference]:
    have = _installed(wanted.name)
    if have is None:
        yield Difference("missing", f"{wanted} is not installed")
        return
    if wanted.specifier.contains(have, prereleases=True):
        return
    pins = [spec.version for spec in wanted.specifier if spec.operator in ("==", "~=", "===")]
    grade: Grade = "other" if pins and all(_is_near(pin, have) for pin in pins) else "breaking"
    yield Difference(grade, f"{wanted} is asked for, {have} is installed")


def _installed(name: str) -> str | None:
    for candidate in (name, STAND_INS.get(name.lower().replace("_", "-"), name)):
        try:
            return metadata.version(candidate)
        except metadata.PackageNotFoundError:
            continue
    return None


def _is_near(pin: str, have: str) -> bool:
    try:
        asked, here = Version(pin.removesuffix(".*")), Version(have)
    except InvalidVersion:
        return False
    if asked.major == here.major == 0:
        return asked.minor == here.minor
    return asked.major == here.major


def _python(path: Path) -> Iterator[Difference]:
    """Code that a model pickles (cloudpickle) is byte code of one minor version of Python."""
    if not path.is_file():
        return
    try:
        content = yaml.safe_load(path.read_text(errors="replace"))
    except yaml.YAMLError as exc:
        raise ModelFolderError(f"{path}: not YAML: {exc}") from exc
    wanted = str(content.get("python", "")) if isinstance(content, dict) else ""
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    if wanted and ".".join(wanted.split(".")[:2]) != here:
        yield Difference("breaking", f"Python {wanted} is asked for, this is {here}")
