from __future__ import annotations

import json
import subprocess
from copy import deepcopy
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import pytest
import yaml

from slipway.onebox.mesh.bootstrap import bootstrap, envoy_argv, envoy_binary
from slipway.onebox.mesh.layout import Layout
from slipway.onebox.mesh.loop import site
from slipway.onebox.mesh.render import Resources, render
from slipway.onebox.mesh.translate import Objects, Site, translate
from slipway.onebox.paths import Paths
from tests.onebox_mesh.cases import CASES, GUARDED

GUARDS = {"jwt_authn", "rbac.deny", "rbac.allow"}
LAYOUT = Layout(Paths(Path("/slipway")))
SITE = Site("127.0.0.1", 8080, "/slipway/page.html")


class _Plain(yaml.SafeDumper):
    def ignore_aliases(self, data):
        return True


def _listeners(resources: Resources) -> list[dict]:
    return json.loads(resources.listeners[0].text)["resources"]


def _dump(value) -> str:
    return yaml.dump(json.loads(json.dumps(value)), Dumper=_Plain, width=120, allow_unicode=True)


@pytest.mark.parametrize("case", sorted(CASES))
def test_render_writes_the_golden_resources(case, golden):
    mesh = translate(CASES[case], SITE)
    resources = render(mesh, LAYOUT)
    own = {"slipway/page"}
    for host in resources.routes["virtual_hosts"]:
        host["routes"] = [route for route in host["routes"] if route["name"] not in own]
    golden(
        f"{case}.yaml",
        _dump(
            {
                "findings": [str(item) for item in mesh.findings],
                "virtual_hosts": resources.routes["virtual_hosts"],
                "clusters": list(resources.clusters.values()),
                "listeners": [
                    item for item in _listeners(resources) if item["name"] != "gateway" and case == "service-listeners"
                ],
            }
        ),
    )


@pytest.mark.parametrize("case", sorted(GUARDED))
def test_render_writes_the_golden_guards(case, golden):
    mesh = translate(GUARDED[case], SITE)
    manager = _listeners(render(mesh, LAYOUT))[0]["filter_chains"][0]["filters"][0]["typed_config"]
    guards = [item for item in manager["http_filters"] if item["name"].rpartition("http.")[2] in GUARDS]
    findings = [str(item) for item in mesh.findings]
    resources = render(mesh, LAYOUT)
    hosts = [host.get("typed_per_filter_config") for host in resources.routes["virtual_hosts"]]
    keys = [cluster for name, cluster in resources.clusters.items() if name.startswith("keys|")]
    found = {"findings": findings, "http_filters": guards, "hosts": hosts, **({"clusters": keys} if keys else {})}
    golden(f"{case}.yaml", _dump(found))


def test_render_writes_the_golden_gateway_listener(golden):
    resources = render(translate(CASES["canary-10"], SITE), LAYOUT)
    golden("gateway-listener.yaml", _dump(_listeners(resources)[0]))


def test_render_writes_the_golden_way_to_the_activator(golden):
    resources = render(translate(Objects(), replace(SITE, activator_sockets={"http": "/run/activator.sock"})), LAYOUT)
    listeners = [item for item in _listeners(resources) if item["name"].startswith("waking-")]
    golden("waking.yaml", _dump({"clusters": list(resources.clusters.values()), "listeners": listeners}))


def test_bootstrap_is_the_golden_one(golden):
    text = _dump(bootstrap(0, LAYOUT.paths))
    golden("bootstrap.yaml", text.replace(str(LAYOUT.paths.sockets), "/sockets"))


def test_golden_folder_has_no_orphans():
    files = {path.stem for path in (Path(__file__).parent / "golden").glob("*.yaml")}
    assert files == {*CASES, *GUARDED, "gateway-listener", "bootstrap", "waking"}


@pytest.mark.parametrize("case", sorted({**CASES, **GUARDED}))
def test_envoy_accepts_every_golden_case(case, tmp_path):
    layout = Layout(Paths(tmp_path))
    layout.paths.logs.mkdir()
    here = replace(site("127.0.0.1", 8080), lowest_port=1024, activator_sockets=layout.activator_sockets)
    config = tmp_path / "static.json"
    config.write_text(json.dumps(_static(render(translate({**CASES, **GUARDED}[case], here), layout), layout)))
    done = subprocess.run(
        [
            str(envoy_binary()),
            "--config-path",
            str(config),
            "--mode",
            "validate",
            "--disable-hot-restart",
            "-l",
            "warning",
        ],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = [line for line in done.stderr.splitlines() if "Jwks async fetching" not in line]  # nobody answers here
    assert not [line for line in said if "[warning]" in line], done.stderr  # deprecated or unknown fields


def _static(resources: Resources, layout: Layout) -> dict:
    """The dynamic resources inside one bootstrap, so that one run of Envoy checks all of them."""

    def plain(resource):
        return {key: value for key, value in deepcopy(resource).items() if key != "@type"}

    listeners = [plain(item) for item in _listeners(resources)]
    manager = listeners[0]["filter_chains"][0]["filters"][0]["typed_config"]
    del manager["rds"]
    manager["route_config"] = plain(resources.routes)
    clusters = [plain(resource) for resource in resources.clusters.values()]
    whole = bootstrap(0, layout.paths)
    del whole["dynamic_resources"]
    return {**whole, "static_resources": {"listeners": listeners, "clusters": clusters}}


def test_translate_does_not_depend_on_the_order_of_objects():
    objects = CASES["order-older-first-catch-all-last"]
    meshes = {
        str(
            translate(
                replace(objects, virtual_services=virtual, services=objects.services[::-1], pods=objects.pods[::-1]),
                SITE,
            )
        )
        for virtual in permutations(objects.virtual_services)
    }
    assert meshes == {str(translate(objects, SITE))}


def test_envoy_argv_names_the_bootstrap_of_its_index():
    argv = envoy_argv(1, LAYOUT.paths)
    assert Path(argv[0]).is_file()
    assert argv[argv.index("--config-path") + 1] == "/slipway/mesh/bootstrap-1.json"
    assert "--disable-hot-restart" in argv
