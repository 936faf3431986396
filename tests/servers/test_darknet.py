"""DARKNET_SERVER: YoloDetector with the folder's own metadata; what it detects is tested with the class."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway.servers.darknet import DarknetServer
from slipway.servers.errors import ModelFolderError
from tests.data import REPOSITORY
from tests.servers.conftest import ServeModel

BCCD = REPOSITORY / "models" / "bccd"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for path in BCCD.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


async def test_metadata_yaml_completes_what_the_model_says(serve_model: ServeModel, folder):
    server = DarknetServer(f"file://{folder}")
    (folder / "metadata.yaml").write_text("name: our-cells\n")
    _, told = await (await serve_model(server)).get("/metadata")
    assert (told["name"], told["platform"]) == ("our-cells", "darknet")
    server.close()


def test_metadata_yaml_that_cannot_be_read_stops_the_start(folder):
    (folder / "metadata.yaml").write_text("- a list\n")
    with pytest.raises(ModelFolderError, match="an object is expected"):
        DarknetServer(str(folder)).load()
