"""What a client may send that would stop, poison or grow the API: each is refused, and quickly."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest

from slipway.onebox.api.bodies import MAX_YAML_NODES, parse_json, parse_yaml
from slipway.onebox.api.deletion import MAX_GRACE_S, parse_delete_options
from slipway.onebox.api.errors import Refused
from slipway.onebox.api.schema import MAX_DEPTH
from tests.onebox_api.inside import CONFIG_MAPS, config_map, send

PODS = "/api/v1/namespaces/default/pods"


def pod(name: str, **spec: Any) -> dict[str, Any]:
    containers = [{"name": "c", "image": "x:1"}]
    spec = {"nodeName": "here", "containers": containers, **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


# -- bodies


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"[" * 1_000_000, "max depth"),  # libyaml needs quadratic time for these
        (b"{a: " * 500_000, "max depth"),
        (b"- a\n" * (MAX_YAML_NODES + 1), "send JSON"),
        (b"a: &x [1]\nb: *x\n", "aliases"),
        (b"a: !!int " + b"1:" * 500_000 + b"1", "is no !!int"),  # base 60 would need quadratic time
        (b"a: !!float 1:30", "is no !!float"),
        (b'a: "\\ud800"', "Unicode"),
    ],
)
def test_yaml_that_would_take_minutes_is_refused(body: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_yaml(body)


def test_yaml_reads_numbers_as_go_yaml_does() -> None:
    body = b"[1, 012, 0x1f, 8080:80, 1_000, 1e3, .5, 1.5e-3, -5, 2020-01-01, n, 'n', 0o17]"
    assert parse_yaml(body).value == [1, 10, 31, "8080:80", 1000, 1000.0, 0.5, 0.0015, -5, "2020-01-01", False, "n", 15]
    assert parse_yaml(b"0x" + b"f" * 1_000_000).value == "0x" + "f" * 1_000_000  # no room in 64 bits
    assert parse_yaml(b'\n{\n\t"a"\t:\t[\t1\t]\n}\t').value == {"a": [1]}


@pytest.mark.parametrize("body", [b"[1e999]", b"[-1e999]", b"[" + b"9" * 400 + b"]", b"[" + b"9" * 5000 + b"]"])
def test_numbers_out_of_range_are_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"out of range|limit"):
        parse_json(body)


def test_whole_numbers_are_int64s_or_floats() -> None:
    assert parse_json(b"[9223372036854775807, 9223372036854775808]").value == [2**63 - 1, 2.0**63]
    assert isinstance(parse_json(b"[9223372036854775808]").value[0], float)


async def test_half_a_surrogate_pair_is_refused_and_poisons_no_list(http: aiohttp.ClientSession) -> None:
    body = json.dumps(config_map("bad", data={"a": "\ud800"})).encode()
    assert (await send(http, "POST", CONFIG_MAPS, body))[0] == 400
    headers = {"User-Agent": b"\xff\xfe/1".decode(errors="surrogateescape")}
    status, made = await send(http, "POST", CONFIG_MAPS, config_map("x", data={"a": "\U0001f600"}), headers=headers)
    assert (status, made["data"]) == (201, {"a": "\U0001f600"})
    assert (await send(http, "GET", CONFIG_MAPS))[0] == 200


async def test_patches_cannot_nest_deeper_than_a_body(http: aiohttp.ClientSession) -> None:
    await send(http, "POST", CONFIG_MAPS, config_map("deep"))
    operations = [{"op": "add", "path": "/data" + "/a" * n, "value": {}} for n in range(MAX_DEPTH + 5)]
    headers = {"Content-Type": "application/json-patch+json"}
    status, answer = await send(http, "PATCH", f"{CONFIG_MAPS}/deep", operations, headers=headers)
    assert (status, "max depth" in answer["message"]) == (400, True)


@pytest.mark.parametrize("query", ["resourceVersion=" + "9" * 5000, "watch=1&resourceVersion=" + "9" * 5000])
async def test_a_version_beyond_any_is_refused_in_words(http: aiohttp.ClientSession, query: str) -> None:
    status, answer = await send(http, "GET", f"{CONFIG_MAPS}?{query}")
    assert (status, "value out of range" in answer["message"]) == (500, True)  # the code that Kubernetes gives


# -- deletion


@pytest.mark.parametrize(
    ("asked", "grace"),
    [
        ({"terminationGracePeriodSeconds": 2**63 - 1}, MAX_GRACE_S),
        ({"terminationGracePeriodSeconds": -5}, 1),
        ({"terminationGracePeriodSeconds": 7}, 7),
    ],
)
async def test_a_pods_grace_is_a_time_that_ends(http: aiohttp.ClientSession, asked: Any, grace: int) -> None:
    assert (await send(http, "POST", PODS, pod("p", **asked)))[0] == 201
    status, gone = await send(http, "DELETE", f"{PODS}/p")
    assert (status, gone["metadata"]["deletionGracePeriodSeconds"]) == (200, grace)


@pytest.mark.parametrize("grace", [1e30, 10**30, 2**63])
async def test_a_grace_that_is_no_int64_is_refused(http: aiohttp.ClientSession, grace: float) -> None:
    status, answer = await send(http, "POST", PODS, pod("p", terminationGracePeriodSeconds=grace))
    assert (status, "cannot unmarshal number" in answer["message"]) == (400, True)


async def test_a_delete_with_any_grace_is_answered(http: aiohttp.ClientSession) -> None:
    await send(http, "POST", PODS, pod("p"))
    status, gone = await send(http, "DELETE", f"{PODS}/p?gracePeriodSeconds={'9' * 18}")
    assert (status, gone["metadata"]["deletionGracePeriodSeconds"]) == (200, MAX_GRACE_S)


@pytest.mark.parametrize(
    "body",
    [
        {"gracePeriodSeconds": "x"},
        {"gracePeriodSeconds": True},
        {"gracePeriodSeconds": 1e30},
        {"preconditions": []},
        {"preconditions": {"uid": {}}},
        {"dryRun": "All"},
        {"dryRun": [[]]},
        {"propagationPolicy": [1]},
        {"orphanDependents": "x"},
    ],
)
def test_delete_options_of_a_wrong_type_are_refused(body: Any) -> None:
    with pytest.raises(Refused) as refused:
        parse_delete_options({}, body)
    assert (refused.value.code, "cannot unmarshal" in refused.value.message) == (400, True)


# -- paths and definitions


@pytest.mark.parametrize(
    "path",
    ["/openapi", "/apis//v1/x", "/api//v1", "/api/v1/namespaces/default/pods/..%2f..%2f/log", "/api/v1/" + "a/" * 3000],
)
async def test_paths_that_lead_nowhere_are_404(http: aiohttp.ClientSession, path: str) -> None:
    async with http.get(path) as response:
        assert response.status == 404


@pytest.mark.parametrize("group", ["apps", "", "coordination.k8s.io"])
async def test_a_definition_replaces_no_built_in_kind(http: aiohttp.ClientSession, group: str) -> None:
    names = {"plural": "leases", "singular": "lease", "kind": "Lease", "listKind": "LeaseList"}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
    body = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"leases.{group}"},
        "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": [version]},
    }
    status, answer = await send(http, "POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", body)
    assert status == 422
    assert "spec.group" in [cause["field"] for cause in answer["details"]["causes"]]
    assert (await send(http, "GET", "/apis/coordination.k8s.io/v1/leases"))[0] == 200


# -- found by mutating manifests at random


@pytest.mark.parametrize(
    "endpoint", [{"addresses": [1]}, {"addresses": [[]]}, {"addresses": "127.0.0.1"}, {"conditions": []}, 1]
)
async def test_an_endpoint_slice_that_no_table_could_show_is_refused(
    http: aiohttp.ClientSession, endpoint: Any
) -> None:
    path = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
    body = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"name": "x"}}
    status, answer = await send(http, "POST", path, {**body, "addressType": "IPv4", "endpoints": [endpoint]})
    assert (status, "cannot unmarshal" in answer["message"]) == (400, True)


@pytest.mark.parametrize(
    "directive", ["$retainKeys", "$deleteFromPrimitiveList/finalizers", "$setElementOrder/finalizers"]
)
async def test_a_directive_that_is_no_list_is_refused(http: aiohttp.ClientSession, directive: str) -> None:
    await send(http, "POST", CONFIG_MAPS, config_map("x"))
    headers = {"Content-Type": "application/strategic-merge-patch+json"}
    status, answer = await send(http, "PATCH", f"{CONFIG_MAPS}/x", {"metadata": {directive: 2.5}}, headers=headers)
    assert (status, "a list is expected" in answer["message"]) == (400, True)


async def test_a_scale_whose_metadata_are_no_object_is_refused(http: aiohttp.ClientSession) -> None:
    path = "/apis/apps/v1/namespaces/default/replicasets"
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x:1"}]}}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    made = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "x"}, "spec": spec}
    assert (await send(http, "POST", path, made))[0] == 201
    scale = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": [[]], "spec": {"replicas": 2}}
    assert (await send(http, "PUT", f"{path}/x/scale", scale))[0] == 400
