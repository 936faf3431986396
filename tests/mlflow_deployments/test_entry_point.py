"""MLflow finds the target, installed or copied into an image."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
from pathlib import Path

from mlflow.deployments import interface

from slipway.mlflow_deployments import plugin
from slipway.onebox.images.snapshot import take_snapshot
from slipway.onebox.images.spec import load_image_spec
from tests.data import REPOSITORY

FIND = """
import importlib.metadata
(found,) = importlib.metadata.entry_points(group="mlflow.deployments", name="slipway")
print(found.value, importlib.metadata.version("slipway"))
"""


def test_mlflow_knows_the_target() -> None:
    assert interface.plugin_store["slipway"] is plugin
    client = interface.get_deploy_client("slipway:/some-context")
    assert isinstance(client, plugin.SlipwayDeploymentClient)
    assert client.context == "some-context"
    assert "slipway:/CONTEXT" in interface._target_help("slipway")


def test_image_that_carries_the_package_carries_its_entry_point(tmp_path: Path) -> None:
    folder, root = tmp_path / "images" / "book", tmp_path / "root"
    folder.mkdir(parents=True)
    lock = tmp_path / "lock.txt"
    lock.write_text("")
    (folder / "image.yaml").write_text(
        f"name: acme/book\nentrypoint: [python]\npackages: [slipway]\nrequirements: {lock}\nsources: []\n"
    )
    for file in take_snapshot(load_image_spec(folder), roots=(REPOSITORY,)).files:
        target = root / file.target
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file.source, target)
    bare = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.append({str(root)!r}){FIND}"],
        capture_output=True,
        text=True,
        check=True,
    )
    version = importlib.metadata.version("slipway")
    assert bare.stdout == f"slipway.mlflow_deployments.plugin {version}\n"
