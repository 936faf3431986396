"""An object that nobody can read: the others are served, and the mesh goes on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from slipway.kube.kinds import SERVICE, VIRTUAL_SERVICE
from slipway.onebox.mesh.layout import Layout
from slipway.onebox.mesh.translate import Site, translate
from slipway.onebox.mesh.unreadable import translate_readable
from slipway.onebox.paths import Paths
from tests.onebox_mesh.api import running_api
from tests.onebox_mesh.test_process import mesh_process
from tests.onebox_mesh.world import item, policy, service, virtual_service, world
from tests.ports import free_port
from tests.waiting import eventually

SITE = Site("127.0.0.1", 8080, "/page.html")
WHOLE = world([virtual_service({"stable": 100})], {"stable": {"127.20.0.1": True}})
ODD = {
    "services": item("Service", "odd", {"ports": [{"name": "http"}]}),
    "endpoint_slices": {"kind": "EndpointSlice", "metadata": {"name": "odd"}, "endpoints": [{"conditions": "ready"}]},
    "scaled_objects": item("ScaledObject", "odd", {"scaleTargetRef": "yolo"}),
}


@pytest.mark.parametrize("kind", sorted(ODD))
def test_object_that_cannot_be_read_is_left_out_and_named(kind):
    objects = replace(WHOLE, **{kind: (*getattr(WHOLE, kind), ODD[kind])})
    kept, mesh = translate_readable(objects, SITE)
    assert kept == WHOLE
    (finding,) = set(mesh.findings) - set(translate(WHOLE, SITE).findings)
    assert (finding.name, finding.message.partition(":")[0]) == ("odd", "cannot be read, so it has no effect")
    assert replace(mesh, findings=()) == replace(translate(WHOLE, SITE), findings=())


def test_policy_that_cannot_be_read_is_never_left_out():
    broken = {**policy("deny"), "metadata": {"namespace": "istio-system"}}
    with pytest.raises(KeyError):
        translate_readable(replace(WHOLE, authorization_policies=(broken,)), SITE)


@pytest.mark.e2e
async def test_mesh_process_goes_on_beside_an_object_that_cannot_be_read(tmp_path):
    layout = Layout(Paths(tmp_path))
    async with (
        running_api(WHOLE, tmp_path) as (api, kubeconfig),
        mesh_process(tmp_path, kubeconfig, free_port()) as process,
    ):
        await eventually(layout.routes.exists)
        await api.put(SERVICE, ODD["services"])
        await eventually(lambda: any("cannot be read" in event["message"] for event in api.events))
        await api.put(SERVICE, service("new", {"http": 8000}, cluster_ip="127.20.0.77"))
        await api.put(VIRTUAL_SERVICE, virtual_service({"stable": 100}))
        await eventually(lambda: "|new." in layout.clusters.read_text())
        assert process.returncode is None
