"""``image.yaml`` → a typed image: what is copied, what starts, which Python packages it needs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

import slipway
from slipway.onebox.images.errors import ImageError, InvalidImageFile, InvalidReference
from slipway.onebox.images.reference import parse_reference

IMAGE_FILE = "image.yaml"
MAX_IMAGE_FILE_BYTES = 64 * 1024
MAX_PORT = 65_535
DEFAULT_REQUIREMENTS = Path(slipway.__file__).resolve().parents[1] / "requirements" / "serving.txt"
"""This repository's own, wherever the image's folder is."""

CLASS_PACKAGES = ("slipway.contract", "slipway.serving", "slipway.microservice")
"""What serves a component class comes along with it."""

CLASS_PORTS = (9000, 9500, 6000)
"""REST, gRPC and metrics of a component (contract section 2.2)."""

KEYS = frozenset({"name", "class", "entrypoint", "sources", "packages", "requirements", "unhashed", "env", "ports"})
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)
_PIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?==[0-9][A-Za-z0-9.!+]*", re.ASCII)
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class ImageSpec:
    """One ``image.yaml``. ``requirements`` is absolute; ``sources`` are relative to ``folder``.

    ``unhashed`` are exact pins (``torch==2.13.0``) that pip installs after the locked set: of such a package each
    machine takes its own build, so no lock can name one hash. ``ports`` is what a container image says that it listens on.
    """

    folder: Path
    name: str
    class_name: str | None
    entrypoint: tuple[str, ...]
    sources: tuple[str, ...]
    packages: tuple[str, ...]
    requirements: Path
    unhashed: tuple[str, ...]
    env: Mapping[str, str]
    ports: tuple[int, ...] = ()


def load_image_spec(folder: Path) -> ImageSpec:
    """Raises InvalidImageFile naming the file and the key."""
    path = folder / IMAGE_FILE
    try:
        if path.stat().st_size > MAX_IMAGE_FILE_BYTES:
            raise InvalidImageFile(f"{path}: larger than {MAX_IMAGE_FILE_BYTES} bytes")
        loaded = yaml.safe_load(path.read_text())
    except OSError as exc:
        raise InvalidImageFile(f"{path}: {exc.strerror}") from exc
    except (yaml.YAMLError, UnicodeDecodeError) as exc:
        raise InvalidImageFile(f"{path}: not YAML: {exc}") from exc
    try:
        return parse_image_spec(loaded, folder=folder)
    except (ValueError, InvalidReference) as exc:
        raise InvalidImageFile(f"{path}: {exc}") from exc


def parse_image_spec(loaded: object, *, folder: Path) -> ImageSpec:
    """Raises ValueError (or InvalidReference) that starts with the key at fault."""
    if not isinstance(loaded, dict):
        raise ValueError("expected a mapping with the key `name`")  # noqa: TRY004  - one error kind
    if unknown := sorted(map(str, loaded.keys() - KEYS)):
        raise ValueError(f"unknown keys {unknown}; known: {', '.join(sorted(KEYS))}")
    class_name = _class_name(loaded.get("class"))
    entrypoint = _strings(loaded, "entrypoint", default=())
    if (class_name is None) == (not entrypoint):
        raise ValueError("exactly one of `class` and `entrypoint` is needed")
    packages = _strings(loaded, "packages", default=())
    for package in packages:
        if not _DOTTED.fullmatch(package):
            raise ValueError(f"packages: {package!r} is not a package name")
    return ImageSpec(
        folder=folder,
        name=_name(loaded.get("name")),
        class_name=class_name,
        entrypoint=entrypoint or ("python", "-m", "slipway.microservice", str(class_name)),
        sources=_strings(loaded, "sources", default=(".",)),
        packages=tuple(dict.fromkeys((*packages, *(CLASS_PACKAGES if class_name else ())))),
        requirements=(folder / _string(loaded, "requirements", default=str(DEFAULT_REQUIREMENTS))).resolve(),
        unhashed=_pins(_strings(loaded, "unhashed", default=())),
        env=_env(loaded.get("env")),
        ports=_ports(loaded.get("ports"), default=CLASS_PORTS if class_name else ()),
    )


def find_image_folder(name: str, repository: Path) -> Path:
    """The folder below ``repository/images`` whose image.yaml has this name. Raises ImageError with the known names."""
    known: dict[str, Path] = {}
    for path in sorted((repository / "images").glob(f"*/{IMAGE_FILE}")):
        known[load_image_spec(path.parent).name] = path.parent
    if name not in known:
        listed = ", ".join(sorted(known)) or "none"
        raise ImageError(f"{repository / 'images'}: no {IMAGE_FILE} says `name: {name}`; there are: {listed}")
    return known[name]


def _name(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("name: a text is needed, such as slipway/image-transformer")  # noqa: TRY004  - one error kind
    reference = parse_reference(value)
    if reference.name != value:
        raise ValueError(f"name: {value!r} carries a tag; the tag is given when the image is built")
    return value


def _class_name(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not _DOTTED.fullmatch(value):
        raise ValueError(f"class: {value!r} is not a dotted Python name such as my_package.MyModel")
    return value


def _string(loaded: Mapping[str, Any], key: str, *, default: str) -> str:
    value = loaded.get(key, default)
    if not isinstance(value, str) or not value:
        raise ValueError(f"{key}: {value!r} is not a text")
    return value


def _strings(loaded: Mapping[str, Any], key: str, *, default: tuple[str, ...]) -> tuple[str, ...]:
    value = loaded.get(key)
    if value is None:
        return default
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise ValueError(f"{key}: {value!r} is not a list of texts")
    return tuple(value)


def _pins(values: tuple[str, ...]) -> tuple[str, ...]:
    """In one order, so that the same pins make the same environment."""
    for value in values:
        if not _PIN.fullmatch(value):
            raise ValueError(f"unhashed: {value!r} is not an exact pin such as torch==2.13.0")
    return tuple(sorted(set(values)))


def _ports(value: object, *, default: tuple[int, ...]) -> tuple[int, ...]:
    if value is None:
        return default
    if not isinstance(value, list) or not all(type(item) is int and 0 < item <= MAX_PORT for item in value):
        raise ValueError(f"ports: {value!r} is not a list of numbers from 1 to {MAX_PORT}")
    return tuple(dict.fromkeys(value))


def _env(value: object) -> Mapping[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError(f"env: {value!r} is not a mapping")  # noqa: TRY004  - one error kind
    for key, item in value.items():
        if not isinstance(key, str) or not _ENV_NAME.fullmatch(key) or not isinstance(item, str):
            raise ValueError(f"env: {key!r}: names and values are texts (quote numbers)")
    return dict(value)
