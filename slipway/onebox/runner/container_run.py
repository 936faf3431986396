"""One container of a Pod, from its image and mounts to the command that starts it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from slipway.onebox.images.errors import ImageError
from slipway.onebox.images.store import Image
from slipway.onebox.runner.environ import base_env, container_env, expand, thread_env
from slipway.onebox.runner.machine import Machine
from slipway.onebox.runner.marks import MARK, container_mark
from slipway.onebox.runner.placement import Bind, Placement, inner_targets, place, translate
from slipway.onebox.runner.process import Command
from slipway.onebox.runner.references import MissingReference
from slipway.onebox.runner.spec import Container, InvalidPod, Mount, Pod

HOSTS_TARGET = "/etc/hosts"


@dataclass(frozen=True)
class Ground:
    """Where a Pod lives on this machine."""

    folder: Path
    ip: str
    volumes: Mapping[str, Path]

    @property
    def tmp(self) -> Path:
        return self.folder / "tmp"


def find_image(container: Container, machine: Machine, *, digest: str | None) -> Image:
    """The image of the digest chosen when the Pod was created; without one, what the tag means now. ImageError."""
    if digest is None:
        return machine.store.resolve(container.image)
    image = machine.store.find(digest)
    if image is None:
        raise ImageError(f"image {container.image!r}: {digest}, with which this Pod was created, is no longer here")
    return image


def build_command(container: Container, pod: Pod, *, image: Image, ground: Ground, machine: Machine) -> Command:
    """Raises MissingReference, InvalidPod, OSError."""
    placement = place(_binds(container, ground, machine), has_namespaces=machine.has_namespaces)
    root = machine.store.root(image)
    env = base_env(root=str(root), python=str(machine.store.environment(image)), pod=pod, tmp=str(ground.tmp))
    env = container_env(container, pod, sources=machine.sources(), ip=ground.ip, image_env={**env, **image.env})
    env = {
        **thread_env(container.resources.cpu),
        **env,
        **_platform_env(ground, machine),
        MARK: container_mark(machine.paths, pod.uid, container.name),
    }
    argv = tuple(expand(word, env) for word in (*(container.command or image.entrypoint), *container.args))
    words = placement.translations
    cwd = Path(translate(container.working_dir, words)) if container.working_dir else root
    return Command(
        argv=tuple(translate(word, words) for word in argv),
        env={name: translate(value, words) for name, value in env.items()},
        cwd=root / cwd,
        placement=placement,
        skeletons=_prepare_targets(placement, ground.folder / "mounts" / container.name),
        keep=(machine.paths.home,),
    )


def with_argv(command: Command, argv: tuple[str, ...]) -> Command:
    """Another command in the same container: a probe or a hook."""
    return replace(command, argv=tuple(translate(word, command.placement.translations) for word in argv))


def _platform_env(ground: Ground, machine: Machine) -> dict[str, str]:
    """What a manifest cannot change: docs/architecture.md, "Pods"."""
    return {
        "SLIPWAY_POD_IP": ground.ip,
        "SLIPWAY_HOSTS": str(machine.paths.hosts),
        "SLIPWAY_MODEL_CACHE": str(machine.paths.model_cache),
    }


def _binds(container: Container, ground: Ground, machine: Machine) -> list[Bind]:
    binds = [Bind(_source(mount, container, ground), mount.path, mount.is_read_only) for mount in container.mounts]
    if machine.has_namespaces and HOSTS_TARGET not in {bind.target for bind in binds}:
        binds.append(Bind(machine.paths.hosts, HOSTS_TARGET, True))
    return binds


def _source(mount: Mount, container: Container, ground: Ground) -> Path:
    if mount.volume not in ground.volumes:
        raise InvalidPod(f"{container.name}: volumeMounts[{mount.path}]: the Pod has no volume {mount.volume!r}")
    if not mount.path.startswith("/") or mount.path == "/" or ".." in Path(mount.path).parts:
        raise InvalidPod(f"{container.name}: volumeMounts: {mount.path!r} is not an absolute path below /")
    volume = ground.volumes[mount.volume]
    source = volume / mount.sub_path
    if not source.resolve().is_relative_to(volume.resolve()):
        raise InvalidPod(f"{container.name}: volumeMounts[{mount.path}].subPath {mount.sub_path!r} leaves the volume")
    if not source.exists():
        if mount.is_read_only:
            raise MissingReference(f"{container.name}: subPath {mount.sub_path!r} is not in volume {mount.volume!r}")
        source.mkdir(parents=True)
    return source


def _prepare_targets(placement: Placement, folder: Path) -> tuple[Path, ...]:
    """A folder per overlay with the mount points that the machine lacks, and mount points inside other volumes."""
    skeletons = []
    for index, overlay in enumerate(placement.overlays):
        skeleton = folder / str(index)
        skeleton.mkdir(parents=True, exist_ok=True)
        for name in overlay.folders:
            (skeleton / name).mkdir(parents=True, exist_ok=True)
        for name in overlay.files:
            _touch(skeleton / name)
        skeletons.append(skeleton)
    for _, target, is_file in inner_targets(placement):
        if is_file:
            _touch(target)
        else:
            target.mkdir(parents=True, exist_ok=True)
    return tuple(skeletons)


def _touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
