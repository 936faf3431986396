"""kubernetes/controller in a real container: its Pod template with nothing changed, against the API of one machine."""

from __future__ import annotations

import base64
import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from slipway.kube.kubeconfig import load_access
from slipway.onebox.runner.references import Sources
from tests.containers.node import Node
from tests.data import REPOSITORY
from tests.e2e.platform import Platform
from tests.waiting import wait_until

pytestmark = [pytest.mark.containers, pytest.mark.timeout(900, func_only=True)]

NAMESPACE, NAME = "slipway-system", "slipway-controller"
Object = dict[str, Any]


@pytest.fixture
def account(platform: Platform, tmp_path: Path) -> Path:
    """What a node mounts for a Pod's account. Its rights here are the administrator's: roles are tested elsewhere."""
    access = load_access(platform.paths.kubeconfig)
    folder = tmp_path / "account"
    folder.mkdir()
    for name, content in (("token", access.token), ("ca.crt", access.certificate_authority), ("namespace", NAMESPACE)):
        assert content
        (folder / name).write_text(content)
    for path in (folder, *folder.parents):
        if path.is_relative_to(tmp_path.parents[1]):
            path.chmod(path.stat().st_mode | 0o055)
    return folder


def rendered() -> list[Object]:
    argv = ["kubectl", "kustomize", str(REPOSITORY / "kubernetes" / "controller")]
    done = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60)
    return list(yaml.safe_load_all(done.stdout))


def test_the_controller_leads_while_it_runs_and_hands_the_lease_back(
    node: Node, platform: Platform, account: Path
) -> None:
    objects = rendered()
    [deployment] = [item for item in objects if item["kind"] == "Deployment"]
    maps = {(NAMESPACE, item["metadata"]["name"]): item for item in objects if item["kind"] == "ConfigMap"}
    [secret] = node.sources.secrets.values()
    own = replace(
        node,
        sources=Sources(config_maps=maps, secrets={(NAMESPACE, "slipway-model-storage"): secret}),
        account=account,
        api_port=platform.ports[1],
    )

    def holder() -> str:
        """A new Lease appears once somebody leads; '' where there is none, or nobody holds it."""
        listed = json.loads(platform.kubectl("get", "leases", "-n", NAMESPACE, "-o", "json"))["items"]
        return "".join(item["spec"].get("holderIdentity") or "" for item in listed)

    assert not holder()
    with own.running(deployment["spec"]["template"], namespace=NAMESPACE, name=NAME) as pod:
        assert wait_until(holder, timeout_s=30, what="somebody leads")
        said = own.logs(pod, "controller")
    assert "Traceback" not in said, said
    assert not holder()
    assert base64.b64decode(secret["data"]["AWS_SECRET_ACCESS_KEY"]).decode() not in said
