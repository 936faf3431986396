"""What has to agree between the lock files, npm's and the profiles."""

from __future__ import annotations

import json
import re

import pytest

from tests.data import REPOSITORY


def pins(name: str) -> dict[str, str]:
    text = (REPOSITORY / "requirements" / f"{name}.txt").read_text()
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", text, re.MULTILINE))


@pytest.mark.parametrize("profile", ["notebook", "spark"])
def test_server_and_hub_speak_the_same_version(profile: str) -> None:
    assert pins(profile)["jupyterhub"] == pins("hub")["jupyterhub"]


@pytest.mark.parametrize("name", ["mlflow", "numpy", "onnxruntime", "protobuf", "aiohttp"])
def test_notebook_has_the_platforms_versions(name: str) -> None:
    assert pins("notebook")[name] == pins("spark")[name] == pins("platform")[name]


def test_proxy_is_pinned_with_its_digests() -> None:
    lock = json.loads((REPOSITORY / "images" / "jupyterhub" / "package-lock.json").read_text())["packages"]
    wanted = json.loads((REPOSITORY / "images" / "jupyterhub" / "package.json").read_text())["dependencies"]
    assert lock[""]["dependencies"] == wanted
    assert lock["node_modules/configurable-http-proxy"]["version"] == wanted["configurable-http-proxy"]
    packages = {name: entry for name, entry in lock.items() if name}
    assert all(entry["integrity"].startswith("sha512-") for entry in packages.values())
    assert not [name for name, entry in packages.items() if "resolved" in entry]
