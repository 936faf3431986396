"""What a container of a rendered Pod template would run: its command and environment, with ConfigMaps and Secrets looked up."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

Object = dict[str, Any]
Secrets = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Rendered:
    """The objects of a kustomization."""

    objects: tuple[Object, ...]

    @classmethod
    def of(cls, folder: Path) -> Rendered:
        argv = ["kubectl", "kustomize", str(folder)]
        built = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
        return cls(tuple(yaml.safe_load_all(built)))

    def find(self, kind: str, name: str) -> Object:
        (found,) = [item for item in self.objects if (item["kind"], item["metadata"]["name"]) == (kind, name)]
        return found

    def container(self, kind: str, name: str) -> Object:
        """The one that stays when those before it are done."""
        found: Object = self.template(kind, name)["spec"]["containers"][0]
        return found

    def steps(self, kind: str, name: str) -> list[Object]:
        """The containers of a Pod that ends, in the order in which they run."""
        spec = self.template(kind, name)["spec"]
        return [*spec.get("initContainers", ()), *spec["containers"]]

    def template(self, kind: str, name: str) -> Object:
        spec = self.find(kind, name)["spec"]
        found: Object = (spec["jobTemplate"]["spec"] if kind == "CronJob" else spec)["template"]
        return found

    def environment(self, container: Object, secrets: Secrets) -> dict[str, str]:
        """As the kubelet makes it; KeyError where a Secret that is not optional has no such key."""
        found: dict[str, str] = {}
        for item in container.get("envFrom", ()):
            found |= self.find("ConfigMap", item["configMapRef"]["name"])["data"]
        for item in container.get("env", ()):
            reference = item["valueFrom"]["secretKeyRef"]
            if reference.get("optional") and reference["key"] not in secrets[reference["name"]]:
                continue
            found[item["name"]] = secrets[reference["name"]][reference["key"]]
        return found

    def write_mounts(self, template: Object, mount: str, folder: Path) -> None:
        """The files that the first container finds at ``mount``, which a ConfigMap brings."""
        (name,) = [
            item["name"] for item in template["spec"]["containers"][0]["volumeMounts"] if item["mountPath"] == mount
        ]
        (volume,) = [item for item in template["spec"]["volumes"] if item["name"] == name]
        folder.mkdir()
        for file, text in self.find("ConfigMap", volume["configMap"]["name"])["data"].items():
            (folder / file).write_text(text)

    def secrets(self) -> Iterable[Object]:
        return (item for item in self.objects if item["kind"] == "Secret")
