"""What asks for a GPU finds its driver, which GKE mounts into containers at a place where no loader looks by itself.

https://docs.cloud.google.com/kubernetes-engine/docs/how-to/gpus#cuda: /usr/local/nvidia/lib64, and LD_LIBRARY_PATH.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import yaml

from slipway.contract.sdep import SeldonDeployment
from slipway.controller.desired import desired
from slipway.controller.facts import Facts
from slipway.onebox.images.spec import load_image_spec
from tests.data import REPOSITORY
from tests.manifests.cluster import templates
from tests.manifests.files import kustomizations
from tests.manifests.kustomizations import built

GPU, DRIVER = "nvidia.com/gpu", "/usr/local/nvidia/lib64"


def images_with_a_gpu() -> set[str]:
    """Folders below images/ of every container that asks for one, and of the hub's notebooks, whose profile does."""
    found = {
        container["image"].partition(":")[0]
        for folder in kustomizations("Kustomization")
        if "gpu" in folder.name
        for template in _templates(built(folder))
        for container in template["spec"]["containers"]
        if GPU in container.get("resources", {}).get("limits", {})
    }
    hub: Any = yaml.safe_load((REPOSITORY / "helm-values" / "jupyterhub.yaml").read_text())["singleuser"]
    for profile in hub["profileList"]:
        override = profile.get("kubespawner_override", {})
        if GPU in override.get("extra_resource_limits", {}):
            found.add(override.get("image", hub["image"]["name"]).partition(":")[0])
    return {name.removeprefix("slipway/") for name in found}


def _templates(objects: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for item in objects:
        is_ours = item["kind"] == "SeldonDeployment"
        made = desired(SeldonDeployment.from_json(item), Facts()) if is_ours else [item]
        yield from (template for _, template in templates(made))


def test_every_image_with_a_gpu_looks_for_the_driver_where_gke_has_it() -> None:
    names = images_with_a_gpu()
    assert names >= {"yolo-detector-gpu", "yolo-trainer", "notebook-minimal"}
    for name in names:
        assert load_image_spec(REPOSITORY / "images" / name).env["LD_LIBRARY_PATH"] == DRIVER, name
