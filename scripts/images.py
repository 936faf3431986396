"""``make images``: container images of images/*/image.yaml, made by Docker or Podman, each with its bill of materials.

Images that name the same lock share the layers of their Python environment.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from slipway import __version__
from slipway.onebox.images.context import TITLE, write_context
from slipway.onebox.images.errors import ImageError
from slipway.onebox.images.spec import ImageSpec, load_image_spec

REPOSITORY = Path(__file__).resolve().parents[1]
ENGINES = ("docker", "podman")
BILL = "/opt/slipway/sbom.cdx.json"
"""Where an image has its bill of materials (CycloneDX)."""

BILLS = REPOSITORY / "build" / "images"
LOCAL_ONLY = frozenset({"slipway/jupyterhub"})
"""On a cluster the chart of JupyterHub brings its own hub."""

HUB = "docker.io"
"""What a name without a registry means to a kubelet, and to Docker."""
BUILD_TIMEOUT_S = 3600.0
ASK_TIMEOUT_S = 60.0
LAST_LINES = 30


class BuildFailed(Exception):
    """The engine is missing or refused; the message carries its last lines."""


@dataclass(frozen=True)
class Options:
    """``engine``: the program; empty texts are not passed on. ``extra``: words for its ``build``."""

    engine: str
    base_image: str = ""
    build_image: str = ""
    platform: str = ""
    registry: str = ""
    tag: str = __version__
    extra: tuple[str, ...] = ()


def chosen(specs: Iterable[ImageSpec], names: Sequence[str]) -> list[ImageSpec]:
    """The images of ``names`` (with or without ``slipway/``), or all that a cluster can use; those of one lock together.

    Raises ImageError for an unknown name.
    """
    known = {spec.name: spec for spec in specs}
    wanted = [name if "/" in name else f"slipway/{name}" for name in names] or sorted(known.keys() - LOCAL_ONLY)
    if unknown := [name for name in wanted if name not in known]:
        raise ImageError(f"no image.yaml says `name: {unknown[0]}`; there are: {', '.join(sorted(known))}")
    return sorted((known[name] for name in dict.fromkeys(wanted)), key=lambda spec: (spec.requirements, spec.name))


def reference(name: str, options: Options) -> str:
    """What the engine calls the image: in full, as nodes of a cluster read it; Podman would put ``localhost/`` before it."""
    return f"{options.registry.rstrip('/') or HUB}/{name}:{options.tag}"


def build_argv(name: str, context: Path, options: Options) -> list[str]:
    """The engine's command line; its words are the same for Docker and Podman."""
    arguments = {"BASE_IMAGE": options.base_image, "BUILD_IMAGE": options.build_image}
    argv = [options.engine, "build", "--tag", reference(name, options)]
    argv += [word for key, value in arguments.items() if value for word in ("--build-arg", f"{key}={value}")]
    argv += ["--platform", options.platform] if options.platform else []
    return [*argv, *options.extra, str(context)]


def build(spec: ImageSpec, options: Options, *, labels: dict[str, str], bills: Path) -> str:
    """Build one image and put its bill beside; its line: name, size and digest. Raises BuildFailed, ImageError."""
    with tempfile.TemporaryDirectory(prefix="slipway-image-") as folder:
        context = Path(folder) / "context"
        name_tag = f"{spec.name}:{options.tag}"
        write_context(name_tag, context, repository=REPOSITORY, folder=spec.folder, labels=labels)
        _run(build_argv(spec.name, context, options), timeout_s=BUILD_TIMEOUT_S)
    name = reference(spec.name, options)
    _copy_bill(name, bills / f"{spec.folder.name}.cdx.json", options)
    shown = _run([options.engine, "image", "inspect", "--format", "{{.Size}} {{.Id}}", name], timeout_s=ASK_TIMEOUT_S)
    size, digest = shown.split()
    return f"{name}  {int(size) / 1e6:.0f} MB  sha256:{digest.removeprefix('sha256:')}"


def _copy_bill(name: str, target: Path, options: Options) -> None:
    """A container is made of the image and not started: engines copy files out of containers only."""
    target.parent.mkdir(parents=True, exist_ok=True)
    container = _run([options.engine, "create", name], timeout_s=ASK_TIMEOUT_S).strip()
    try:
        _run([options.engine, "cp", f"{container}:{BILL}", str(target)], timeout_s=ASK_TIMEOUT_S)
    finally:
        _run([options.engine, "rm", container], timeout_s=ASK_TIMEOUT_S)


def _run(argv: Sequence[str], *, timeout_s: float) -> str:
    try:
        done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=timeout_s)
    except subprocess.TimeoutExpired as exc:
        raise BuildFailed(f"{' '.join(argv[:2])}: not done within {timeout_s:.0f} s") from exc
    if done.returncode:
        lines = (done.stdout + done.stderr).strip().splitlines()[-LAST_LINES:]
        raise BuildFailed(f"{' '.join(argv[:2])} failed (exit {done.returncode}):\n" + "\n".join(lines))
    return done.stdout


def known_engine(wanted: str) -> str:
    """The engine that was asked for, or the first that is there. Raises BuildFailed naming what to install."""
    for name in (wanted,) if wanted else ENGINES:
        if shutil.which(name):
            return name
    raise BuildFailed(
        f"{wanted or ' and '.join(ENGINES)}: not on PATH: on Debian, apt-get install docker.io (or podman)"
    )


def revision() -> dict[str, str]:
    """The label of the commit that the files are of; none outside of a git repository."""
    done = subprocess.run(
        ["git", "-C", str(REPOSITORY), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
        check=False,
        capture_output=True,
        text=True,
        timeout=ASK_TIMEOUT_S,
    )
    return {f"{TITLE}.revision": done.stdout.strip()} if done.returncode == 0 else {}


def parser() -> argparse.ArgumentParser:
    examples = """examples:
  make images
  make images IMAGES="executor yolo-detector" ENGINE=podman
  make images BASE_IMAGE=registry.example/python:3.11 BUILD_IMAGE=registry.example/python-build:3.11
  python -m scripts.images executor --registry registry.example/vision --platform linux/arm64 -- --no-cache"""
    made = argparse.ArgumentParser(
        prog="python -m scripts.images",
        description=__doc__,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("images", nargs="*", help="names below images/; default: all that a cluster can use")
    made.add_argument("--engine", default="", help="docker or podman; default: the first that is there")
    made.add_argument("--base-image", default="", help="default: see images/Dockerfile")
    made.add_argument("--build-image", default="", help="the same with what the build needs; default: the base image")
    made.add_argument("--platform", default="", help="such as linux/arm64, where the engine can")
    made.add_argument(
        "--registry", default="", help="goes before the names; default: docker.io, which a name without one means"
    )
    made.add_argument("--tag", default=__version__, help="default: %(default)s")
    made.add_argument("--source", default="", help="address of the sources, for the label of that name")
    made.add_argument("--bills", type=Path, default=BILLS, help="where bills of materials go; default: build/images")
    return made


def main() -> int:
    """0 all are built, 1 one is not, 2 wrong usage."""
    argv = sys.argv[1:]
    words, extra = (argv[: argv.index("--")], argv[argv.index("--") + 1 :]) if "--" in argv else (argv, [])
    given = parser().parse_args(words)
    labels = {**revision(), **({f"{TITLE}.source": given.source} if given.source else {})}
    try:
        specs = [load_image_spec(path.parent) for path in sorted((REPOSITORY / "images").glob("*/image.yaml"))]
        images = chosen(specs, given.images)
        options = Options(
            engine=known_engine(given.engine),
            base_image=given.base_image,
            build_image=given.build_image,
            platform=given.platform,
            registry=given.registry,
            tag=given.tag,
            extra=tuple(extra),
        )
        for number, spec in enumerate(images, start=1):
            started = time.monotonic()
            print(f"[{number}/{len(images)}] {spec.name} ...", file=sys.stderr, flush=True)
            line = build(spec, options, labels=labels, bills=given.bills)
            print(f"{line}  {time.monotonic() - started:.0f} s", flush=True)
    except (BuildFailed, ImageError) as exc:
        print(f"images: {exc}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
