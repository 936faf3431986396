"""Bodies of any shape to every sub-resource: an answer in words, never a 5xx."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.onebox_api.inside import send

CORE, APPS = "/api/v1/namespaces/default", "/apis/apps/v1/namespaces/default"
PLACES = (
    f"{CORE}/pods/p/binding",
    f"{CORE}/pods/p/eviction",
    f"{CORE}/pods/p/status",
    f"{CORE}/serviceaccounts/a/token",
    f"{APPS}/deployments/w/scale",
    f"{APPS}/deployments/w/status",
)
POD = {"containers": [{"name": "c", "image": "x:1"}]}
TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": POD}
NAMES = st.sampled_from(
    [
        "apiVersion",
        "kind",
        "metadata",
        "name",
        "namespace",
        "resourceVersion",
        "deleteOptions",
        "gracePeriodSeconds",
        "preconditions",
        "uid",
        "dryRun",
        "propagationPolicy",
        "spec",
        "status",
        "replicas",
        "target",
        "conditions",
        "type",
        "podIP",
        "containerStatuses",
        "audiences",
    ]
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(("abc", "", "p", "w", "v1", "All", "Background", "Eviction", "Scale", "Pod", "policy/v1"))
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=8,
)


async def made(http: aiohttp.ClientSession) -> None:
    for path, body in (
        (f"{CORE}/pods", {"metadata": {"name": "p"}, "spec": POD}),
        (f"{CORE}/serviceaccounts", {"metadata": {"name": "a"}}),
        (
            f"{APPS}/deployments",
            {"metadata": {"name": "w"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": TEMPLATE}},
        ),
    ):
        assert (await send(http, "POST", path, body))[0] in (201, 409)  # whom an example has evicted is there again


@pytest.mark.parametrize("place", PLACES)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=VALUES)
async def test_any_body_is_answered(http: aiohttp.ClientSession, place: str, body: Any) -> None:
    await made(http)
    for method, media in (
        ("POST", "application/json"),
        ("PUT", "application/json"),
        ("PATCH", "application/merge-patch+json"),
        ("PATCH", "application/json-patch+json"),
    ):
        status, answer = await send(http, method, place, body, headers={"Content-Type": media})
        assert status < 500, (method, body, answer)
        assert answer["kind"]
        assert status < 400 or answer["message"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("abc", "cannot unmarshal string into Go struct field Eviction.deleteOptions of type v1.DeleteOptions"),
        ([1], "cannot unmarshal array into Go struct field Eviction.deleteOptions"),
        (5, "cannot unmarshal number into Go struct field Eviction.deleteOptions"),
        ({"gracePeriodSeconds": "x"}, "DeleteOptions.gracePeriodSeconds of type int64"),
    ],
)
async def test_eviction_with_options_of_another_type_is_refused(
    http: aiohttp.ClientSession, options: Any, words: str
) -> None:
    await made(http)
    status, answer = await send(http, "POST", f"{CORE}/pods/p/eviction", {"deleteOptions": options})
    assert (status, words in answer["message"]) == (400, True), answer
    assert (await send(http, "GET", f"{CORE}/pods/p"))[0] == 200
