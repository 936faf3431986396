"""A Pod's volumes as folders: contents are computed first, then written so that a reader never sees half of them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from slipway.kube.malformed import MALFORMED
from slipway.onebox.runner.claims import folder_name, may_inherit, nameless_folder
from slipway.onebox.runner.references import MissingReference, Sources, field_value, key_of, map_field, resource_value
from slipway.onebox.runner.spec import InvalidPod, Object, Pod, described

DEFAULT_MODE = 0o644
DATA_LINK = "..data"
PROJECTED_KINDS = ("configMap", "secret", "downwardAPI", "projected")


@dataclass(frozen=True)
class VolumeFile:
    content: bytes
    mode: int = DEFAULT_MODE


def write_volumes(pod: Pod, folder: Path, *, sources: Sources, ip: str, claims: Path) -> dict[str, Path]:
    """Every volume of a Pod with its current contents: name → where it is. Raises MissingReference, InvalidPod, OSError."""
    places: dict[str, Path] = {}
    for name, volume in pod.volumes.items():
        own = folder / "volumes" / name
        try:
            files = volume_files(name, volume, pod, sources=sources, ip=ip)
            places[name] = (
                own if files is not None else plain_folder(name, volume, pod, own=own, sources=sources, claims=claims)
            )
        except MALFORMED as exc:
            raise InvalidPod(f"volumes[{name}]: {described(exc)}") from exc
        if files is not None:
            write_files(own, files)
    return places


def volume_files(name: str, volume: Object, pod: Pod, *, sources: Sources, ip: str) -> dict[str, VolumeFile] | None:
    """The files of a configMap, secret, downwardAPI or projected volume; None for other kinds.

    Raises MissingReference and InvalidPod.
    """
    for kind in PROJECTED_KINDS:
        if kind in volume:
            body = volume[kind] or {}
            parts = [body] if kind != "projected" else body.get("sources") or []
            default = int(body.get("defaultMode") or DEFAULT_MODE)
            files: dict[str, VolumeFile] = {}
            for part in parts:
                files.update(_part(kind, part, pod, sources=sources, ip=ip, default=default))
            for path in files:
                if Path(path).is_absolute() or ".." in Path(path).parts:
                    raise InvalidPod(f"volumes[{name}]: the path {path!r} leaves the volume")
            return files
    return None


def _part(
    kind: str, part: Object, pod: Pod, *, sources: Sources, ip: str, default: int
) -> Iterator[tuple[str, VolumeFile]]:
    if kind == "projected":
        inner = next((name for name in ("configMap", "secret", "downwardAPI") if name in part), None)
        if inner is None:
            raise InvalidPod(f"projected volume: {sorted(part)} is not configMap, secret or downwardAPI")
        kind, part = inner, part[inner]
    if kind == "downwardAPI":
        for item in part.get("items") or ():
            yield item["path"], VolumeFile(_downward(item, pod, sources, ip).encode(), int(item.get("mode") or default))
        return
    is_optional = bool(part.get("optional"))
    name = part.get("secretName") or part.get("name")
    read = sources.secret if kind == "secret" else sources.config_map
    content = read(pod.namespace, str(name), is_optional=is_optional) or {}
    if not part.get("items"):
        yield from ((key, VolumeFile(value, default)) for key, value in sorted(content.items()))
        return
    for item in part["items"]:
        found = key_of(content, {"optional": is_optional, "name": name, **item}, "volume source")
        if found is not None:
            yield item["path"], VolumeFile(found, int(item.get("mode") or default))


def _downward(item: Object, pod: Pod, sources: Sources, ip: str) -> str:
    if ref := item.get("resourceFieldRef"):
        return resource_value(ref, pod.container(ref["containerName"]), sources)
    path = item["fieldRef"]["fieldPath"]
    mapped = map_field(path, pod)
    return field_value(path, pod, ip=ip) if mapped is None else mapped


def write_files(folder: Path, files: Mapping[str, VolumeFile]) -> bool:
    """Make ``folder`` hold exactly ``files``, all of them at one moment. False where nothing changed.

    Names link through ``..data``, which is swapped by one rename: the layout of a kubelet's atomic writer.
    """
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / DATA_LINK
    old = folder / link.readlink() if link.is_symlink() else None
    if old is not None and _read(old) == dict(files):
        return False
    fresh = Path(tempfile.mkdtemp(prefix="..", dir=folder))
    fresh.chmod(0o755)
    for name, file in files.items():
        target = fresh / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.content)
        target.chmod(file.mode)
    draft = folder / "..data_tmp"
    draft.unlink(missing_ok=True)
    draft.symlink_to(fresh.name)
    draft.replace(link)
    _relink(folder, {Path(name).parts[0] for name in files})
    if old is not None:
        shutil.rmtree(old)
    return True


def _relink(folder: Path, names: set[str]) -> None:
    present = {entry.name for entry in folder.iterdir() if not entry.name.startswith("..")}
    for name in sorted(names - present):
        (folder / name).symlink_to(f"{DATA_LINK}/{name}")
    for name in sorted(present - names):
        (folder / name).unlink()


def _read(folder: Path) -> dict[str, VolumeFile]:
    return {
        str(path.relative_to(folder)): VolumeFile(path.read_bytes(), path.stat().st_mode & 0o7777)
        for path in folder.rglob("*")
        if path.is_file()
    }


def plain_folder(name: str, volume: Object, pod: Pod, *, own: Path, sources: Sources, claims: Path) -> Path:
    """The folder of an emptyDir (``own``), of a claim (below ``claims``), or a folder of the machine.

    Raises MissingReference, and InvalidPod for other kinds.
    """
    if "emptyDir" in volume:
        own.mkdir(parents=True, exist_ok=True)
        return own
    if claim := volume.get("persistentVolumeClaim"):
        return _claim_folder(sources.claim(pod.namespace, claim["claimName"]), sources, claims)
    if host := volume.get("hostPath"):
        return _host_folder(name, host, pod)
    kinds = ", ".join(sorted(volume.keys() - {"name"})) or "nothing"
    raise InvalidPod(
        f"volumes[{name}]: {kinds} is not supported here: use emptyDir, configMap, secret, downwardAPI, projected, persistentVolumeClaim or a read-only hostPath"
    )


def _claim_folder(claim: Object, sources: Sources, claims: Path) -> Path:
    folder = claims / folder_name(claim)
    if folder.exists():
        return folder
    earlier = claims / nameless_folder(claim)
    namespace = sources.namespaces.get(("", claim["metadata"]["namespace"]))
    if earlier.is_dir() and may_inherit(earlier.stat().st_mtime, namespace):
        return earlier.rename(folder)
    folder.mkdir(parents=True)
    return folder


def _host_folder(name: str, host: Object, pod: Pod) -> Path:
    writers = [
        container.name
        for container in (*pod.init_containers, *pod.containers)
        for mount in container.mounts
        if mount.volume == name and not mount.is_read_only
    ]
    if writers:
        raise InvalidPod(
            f"volumes[{name}]: a hostPath is mounted read-only here: set readOnly: true in {', '.join(writers)}"
        )
    path = Path(host["path"])
    if not path.exists():
        raise MissingReference(f"volumes[{name}]: hostPath {path} does not exist")
    return path
