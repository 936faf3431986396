"""`slipway split`: what each predictor got, as real Envoys counted it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from click.testing import CliRunner

from slipway.cli.main import main
from slipway.cli.objects import Failure, NotReady
from slipway.cli.split import Reading, watch
from slipway.cli.split import _sum as requests_between
from slipway.cli.split_shares import (
    PredictorShare,
    Split,
    copies_under_way,
    render_split,
    requests_by_predictor,
    shares,
    wilson,
)
from slipway.contract.sdep import SeldonDeployment
from slipway.kube.client import Kube
from slipway.onebox.mesh.admin import Admin, parse_stats
from tests.contract.manifests import predictor, sdep
from tests.onebox_mesh.envoys import running_gateway
from tests.onebox_mesh.upstreams import running_upstreams
from tests.onebox_mesh.world import virtual_service, world
from tests.waiting import eventually

PREDICTIONS = "/seldon/default/yolo/api/v1.0/predictions"
REQUESTS = 400


def yolo(stable: int = 90, *, shadow: int | None = None) -> dict[str, Any]:
    rows = [predictor("stable", traffic=stable), predictor("canary", traffic=100 - stable)]
    if shadow is not None:
        rows.append(predictor("dark", traffic=shadow, shadow=True))
    return sdep(*rows, name="yolo", metadata={"namespace": "default"})


def stats_of(**counts: tuple[int, int]) -> dict[str, int]:
    """(total, retries) by predictor."""
    found: dict[str, int] = {}
    for name, (total, retries) in counts.items():
        cluster = f"cluster.outbound|8000|{name}|yolo-{name}.default.svc.cluster.local"
        found |= {f"{cluster}.upstream_rq_total": total, f"{cluster}.upstream_rq_retry": retries}
    return found


class OneObject:
    """Answers with one SeldonDeployment, whose effective shares may be others each time."""

    def __init__(self, obj: Mapping[str, Any], *effective: Mapping[str, float]) -> None:
        self._answers = [{**obj, "status": {"traffic": {"effective": shares}}} for shares in effective]

    async def get(self, *_: object, **__: object) -> Mapping[str, Any]:
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


def as_kube(fake: OneObject) -> Kube:
    found: Any = fake
    return found  # type: ignore[no-any-return]


def test_requests_are_counted_once_and_only_those_by_the_split() -> None:
    stats = stats_of(stable=(95, 5), canary=(10, 0))
    stats["cluster.outbound|8000||yolo-stable.default.svc.cluster.local.upstream_rq_total"] = 1000  # past the split
    stats["cluster.outbound|8000|stable|other-stable.default.svc.cluster.local.upstream_rq_total"] = 1000
    stats["cluster.outbound|5001|canary|yolo-canary.default.svc.cluster.local.upstream_rq_total"] = 7  # gRPC
    assert requests_by_predictor(SeldonDeployment.from_json(yolo()), stats) == {"stable": 90, "canary": 17}


@pytest.mark.parametrize(
    ("hits", "trials", "z", "bounds"),
    [
        (0, 0, 1.96, (0.0, 1.0)),
        (0, 10, 1.96, (0.0, 0.27754)),
        (10, 10, 1.96, (0.72246, 1.0)),
        (81, 263, 1.96, (0.25531, 0.36621)),
    ],
)
def test_wilson_gives_the_published_bounds(hits: int, trials: int, z: float, bounds: tuple[float, float]) -> None:
    assert wilson(hits, trials, z=z) == pytest.approx(bounds, abs=1e-4)  # 81 of 263: Newcombe 1998


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
def test_a_fair_split_is_inside(share: float) -> None:
    chance = random.Random(7)
    for trials in (1, 10, 300, 1000):
        hits = sum(chance.random() < share for _ in range(trials))
        low, high = wilson(hits, trials)
        assert low <= share <= high


def test_one_request_where_none_may_be_is_outside_and_said() -> None:
    found = shares(SeldonDeployment.from_json(yolo(100)), {"stable": 999, "canary": 1}, {"stable": 100, "canary": 0})
    assert [item.is_outside for item in found] == [True, True]
    split = Split("yolo", "default", 30.2, is_window=True, shares=found)
    assert split.sentences[1].startswith("canary: the requests speak for a share from 0.00 to ")
    assert ", 0 % is effective" in split.sentences[1]


def grouped(stable: int, fresh: int) -> SeldonDeployment:
    """An A/B test: callers with ``x-group: b`` go to the canary, whatever the percentages."""
    obj = yolo(stable)
    obj["spec"]["predictors"][0]["traffic"], obj["spec"]["predictors"][1]["traffic"] = stable, 100 - stable - fresh
    obj["spec"]["predictors"][1]["annotations"] = {"slipway.dev/match": "header:x-group=b"}
    if fresh:
        obj["spec"]["predictors"].append(predictor("fresh", traffic=fresh))
    return SeldonDeployment.from_json(obj)


def test_requests_of_a_group_are_not_held_against_the_weights() -> None:
    found = shares(grouped(100, 0), {"stable": 500, "canary": 500}, {"stable": 100, "canary": 0})
    split = Split("yolo", "default", 30, is_window=True, shares=found)
    assert split.sentences == []
    lines = render_split(split).splitlines()
    assert lines[1].startswith("stable      100 %      100 %       500        100.00 %")
    assert lines[2] == "canary      0 %        0 %         500        none"
    assert lines[-1].startswith("note: canary: requests with header:x-group=b come on top of its 0 %")


@pytest.mark.parametrize(("stable", "fresh", "outside"), [(600, 200, []), (400, 400, ["stable", "fresh"])])
def test_the_others_are_judged_among_themselves_beside_a_group(stable: int, fresh: int, outside: list[str]) -> None:
    counts = {"stable": stable, "canary": 3000, "fresh": fresh}
    found = shares(grouped(60, 20), counts, {"stable": 60, "canary": 20, "fresh": 20})
    assert [item.predictor for item in found if item.is_outside] == outside
    assert found[0].observed == pytest.approx(80 * stable / 800)


def test_a_request_by_weight_where_only_the_group_may_go_is_outside() -> None:
    found = shares(grouped(0, 0), {"stable": 1, "canary": 99}, {"stable": 0, "canary": 100})
    assert [item.predictor for item in found if item.is_outside] == ["stable"]


def test_a_shadow_has_its_share_of_the_copies() -> None:
    for declared, copies, is_outside in ((40, 400, False), (40, 700, True), (0, 1000, False), (0, 600, True)):
        deployment = SeldonDeployment.from_json(yolo(shadow=declared))
        counts = {"stable": 900, "canary": 100, "dark": copies}
        *_, dark = shares(deployment, counts, {"stable": 90, "canary": 10})
        assert (dark.is_shadow, dark.declared, dark.is_outside) == (True, declared or 100, is_outside)


def test_copies_under_way_are_no_missing_ones() -> None:
    deployment = SeldonDeployment.from_json(yolo(shadow=0))
    cluster = "cluster.outbound|8000|{0}|yolo-{0}.default.svc.cluster.local.upstream_rq_{1}"
    stats = {
        cluster.format(name, what): count
        for name, what, count in (
            ("stable", "active", 2),
            ("stable", "pending_active", 40),
            ("dark", "pending_active", 3),
            ("dark", "active", 50),
        )
    }
    under_way = copies_under_way(deployment, stats)
    assert under_way == 1 + 2 + 3
    for missing, is_outside in ((under_way, False), (under_way + 1, True)):
        counts = {"stable": 900, "canary": 100, "dark": 1000 - missing}
        *_, dark = shares(deployment, counts, {"stable": 90, "canary": 10}, under_way=under_way)
        assert dark.is_outside == is_outside


def test_the_only_predictor_gets_all() -> None:
    deployment = SeldonDeployment.from_json(sdep(predictor("stable"), name="yolo"))
    (only,) = shares(deployment, {"stable": 3}, {"stable": 100})
    assert (only.declared, only.observed, only.is_outside) == (100, 100, False)


def test_the_table_shows_all_of_it() -> None:
    rows = (
        PredictorShare("stable", False, 90, 100, 1000, 100.0, 97.66, 100.0),
        PredictorShare("canary", False, 10, 0, 0, 0.0, 0.0, 2.34),
        PredictorShare("dark", True, 40, 40, 0, None, 0.0, 100.0),
    )
    text = render_split(Split("yolo", "default", 30.2, is_window=True, shares=rows, notes=("n",)))
    assert text.splitlines() == [
        "PREDICTOR       DECLARED   EFFECTIVE   REQUESTS   OBSERVED   INTERVAL",
        "stable          90 %       100 %       1000       100.00 %   97.66 to 100.00 %",
        "canary          10 %       0 %         0          0.00 %     0.00 to 2.34 %",
        "dark (shadow)   40 %       40 %        0          none",
        "",
        "30 s",
        "note: n",
    ]


def test_counts_of_an_envoy_that_was_started_anew_are_not_mixed_up() -> None:
    deployment = SeldonDeployment.from_json(yolo())
    before = {"server.uptime": 50, **stats_of(stable=(900, 0), canary=(100, 0))}
    after = {"server.uptime": 60, **stats_of(stable=(990, 0), canary=(110, 0))}
    begin, end = Reading(0, (before, None)), Reading(10, (after, after))
    assert requests_between(deployment, end, since=begin) == {"stable": 90, "canary": 10}
    anew = replace(end, envoys=({**after, "server.uptime": 3}, None))
    with pytest.raises(Failure, match="envoy-0 was started anew meanwhile"):
        requests_between(deployment, anew, since=begin)


def test_stats_are_whole_numbers() -> None:
    assert parse_stats('a.b: 3\nc: "text"\nd: No recorded values\ne: -1\n') == {"a.b": 3}


async def test_without_envoys_it_is_not_ready(tmp_path: Path) -> None:
    kube = as_kube(OneObject(yolo(), {}))
    with pytest.raises(NotReady, match="no Envoy of this machine answers"):
        await watch(kube, [Admin(tmp_path / "none.sock")], "yolo", namespace="default", seconds=0)


def test_a_window_that_is_no_duration_is_wrong_usage() -> None:
    result = CliRunner().invoke(main, ["split", "yolo", "--for", "soon"])
    assert (result.exit_code, "write 90s, 30m or 2h" in result.output) == (2, True)


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[tuple[list[Admin], aiohttp.ClientSession]]:
    async with running_upstreams(stable=1, canary=1, dark=1) as upstreams:
        weights = virtual_service({"stable": 90, "canary": 10}, shadow=("dark", None))
        objects = world([weights], upstreams.predictors(lambda _: True), ports=upstreams.ports)
        async with (
            running_gateway(tmp_path, objects) as running,
            aiohttp.ClientSession(base_url=running.url) as client,
        ):
            sockets = [admin.socket for admin in running.admins]
            yield [Admin(socket, timeout_s=20) for socket in sockets], client


async def _send(client: aiohttp.ClientSession, count: int) -> dict[str, int]:
    """Replies by predictor."""
    found: dict[str, int] = {}
    for _ in range(count):
        async with client.post(PREDICTIONS, data=b"{}") as reply:
            await reply.read()
            name = reply.headers["x-slipway-predictor"]
            found[name] = found.get(name, 0) + 1
    return found


@pytest.mark.e2e
async def test_what_the_envoys_counted_is_what_was_answered(
    gateway: tuple[list[Admin], aiohttp.ClientSession],
) -> None:
    admins, client = gateway
    obj, fair = yolo(shadow=0), {"stable": 90.0, "canary": 10.0}
    answered = await _send(client, REQUESTS)
    kube = as_kube(OneObject(obj, fair))

    async def counted() -> Split | None:  # the last copy may go out after its request's answer
        split = await watch(kube, admins, "yolo", namespace="default", seconds=0)
        requests = {row.predictor: row.requests for row in split.shares}
        return split if requests == {**answered, "dark": REQUESTS} else None

    so_far = await eventually(counted, what=f"{answered}, and as many copies")
    assert so_far is not None
    assert so_far.sentences == []

    window = asyncio.create_task(watch(kube, admins, "yolo", namespace="default", seconds=3))
    answered = {}
    while not window.done():
        for name, count in (await _send(client, 1)).items():
            answered[name] = answered.get(name, 0) + count
    seen = await window
    assert 0 < sum(row.requests for row in seen.shares if not row.is_shadow) <= sum(answered.values())
    assert seen.sentences == []

    wrong = as_kube(OneObject(obj, {"stable": 10.0, "canary": 90.0}))
    told = (await watch(wrong, admins, "yolo", namespace="default", seconds=0)).sentences
    assert [sentence.split(":")[0] for sentence in told] == ["stable", "canary"]
