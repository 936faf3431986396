"""MLflow finds the target, installed or copied into an image."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
import sys
from pathlib import Path

from mlflow.deployments import interface

from slipway.mlflow_deployments import plugin
from slipway.mlflow_deployments.settings import KEYS, parse_config
from slipway.onebox.images.snapshot import take_snapshot
from slipway.onebox.images.spec import load_image_spec
from tests.data import REPOSITORY

FIND = """
import importlib.metadata
import re
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


def test_document_and_table_name_the_same_keys() -> None:
    document = (REPOSITORY / "docs" / "client.md").read_text()
    commands = re.findall(r"^mlflow deployments \S+ +-t slipway.*$", document, re.MULTILINE)
    assert len(commands) == 9
    for name, value in re.findall(r"-C (\w+)=(\w+)", "\n".join(commands)):
        parse_config({name: value})
    keys = document.partition("Keys of `-C`:")[2].partition("\n\n`predict`")[0]
    named = {word for row in re.findall(r"^\| (`.*?) \|", keys, re.MULTILINE) for word in re.findall(r"`(\w+)", row)}
    assert named == set(KEYS)
