"""The loop around the Lease: a real API, several candidates, an API that goes away, and processes that come too late."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp.test_utils import TestServer

from slipway.controller.election import Timing
from slipway.controller.leading import Election, NotLeading
from slipway.controller.meta import MANAGER
from slipway.kube.client import Kube
from slipway.kube.conduct import Conduct
from slipway.kube.kinds import CONFIG_MAP, LEASE
from slipway.kube.kubeconfig import Access
from slipway.onebox.api.__main__ import make_parts
from slipway.onebox.api.server import make_app
from slipway.onebox.paths import Paths
from tests.waiting import eventually

TOKEN = "t" * 32
PLACE = "default"
TIMING = Timing(lease_s=3.0, renew_s=2.0, retry_s=0.1)
LONG = Timing()


class Worker:
    """A leader's work: remembers who works at the same time."""

    at_once = 0

    def __init__(self) -> None:
        self.terms = 0
        self.is_working = False

    async def __call__(self) -> None:
        Worker.at_once += 1
        assert Worker.at_once == 1, "two work at once"
        self.terms, self.is_working = self.terms + 1, True
        try:
            await asyncio.Event().wait()
        finally:
            self.is_working = False
            Worker.at_once -= 1


@pytest.fixture
async def kube(tmp_path: Path) -> AsyncIterator[Kube]:
    Worker.at_once = 0
    parts = make_parts(Paths(tmp_path), admin_token=TOKEN)
    async with (
        TestServer(make_app(parts)) as api,
        Kube(Access(str(api.make_url("/")).rstrip("/"), token=TOKEN)) as kube,
    ):
        yield kube
    parts.objects.store.close()


def candidate(kube: Kube, identity: str, timing: Timing = TIMING) -> Election:
    return Election.of(kube, namespace=PLACE, identity=identity, timing=timing)


async def end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_one_of_three_leads_and_gives_the_lease_back_at_the_end(kube: Kube) -> None:
    workers = {name: Worker() for name in "abc"}
    elections = {name: candidate(kube, name, LONG) for name in workers}
    tasks = {name: asyncio.create_task(elections[name].run(workers[name])) for name in workers}
    await eventually(lambda: Worker.at_once == 1, what="a leader")
    first = next(name for name in workers if workers[name].is_working)
    lease = await kube.get(LEASE, MANAGER, namespace=PLACE)
    assert (lease["spec"]["holderIdentity"], lease["spec"]["leaseTransitions"]) == (first, 0)
    await end(tasks.pop(first))
    assert not workers[first].is_working
    lease = await kube.get(LEASE, MANAGER, namespace=PLACE)
    assert lease["spec"]["holderIdentity"] in workers.keys() - {first} | {""}, "nobody waits 15 s for it"
    await eventually(lambda: Worker.at_once == 1, what="the next leader")
    lease = await kube.get(LEASE, MANAGER, namespace=PLACE)
    assert lease["spec"]["leaseTransitions"] == 1
    for task in tasks.values():
        await end(task)


async def test_leader_that_cannot_renew_stops_in_time_and_leads_again_when_the_api_is_back(
    kube: Kube, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, election = Worker(), candidate(kube, "a")
    task = asyncio.create_task(election.run(worker))
    await eventually(lambda: worker.is_working, what="a leader")

    async def hang(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    with monkeypatch.context() as away:
        away.setattr(kube, "replace", hang)
        begun_at = election.candidate.renewed_at or 0.0
        await eventually(lambda: not worker.is_working, what="the end of the term")
        assert election.clock() - begun_at < TIMING.lease_s, "before anybody else may begin"
    await eventually(lambda: worker.terms == 2, what="a second term")
    await end(task)


async def test_lease_that_somebody_deletes_stays_with_its_leader(kube: Kube) -> None:
    worker, other = Worker(), Worker()
    tasks = [asyncio.create_task(candidate(kube, "a").run(worker))]
    await eventually(lambda: worker.is_working, what="a leader")
    rival = candidate(kube, "b")
    tasks.append(asyncio.create_task(rival.run(other)))
    await eventually(lambda: rival.candidate.holder == "a", what="the rival has seen the leader")
    await kube.delete(LEASE, MANAGER, namespace=PLACE)

    async def made_anew() -> bool:
        return any(lease["spec"]["holderIdentity"] == "a" for lease in (await kube.list(LEASE)).items)

    await eventually(made_anew, what="the lease, of the same holder")
    assert (worker.terms, other.terms) == (1, 0)
    for task in tasks:
        await end(task)


async def test_write_that_comes_too_late_is_not_sent(kube: Kube) -> None:
    now = [100.0]
    election = candidate(kube, "a", LONG)
    election.clock = lambda: now[0]
    async with Kube(kube.access, conduct=Conduct(before_write=election.check)) as guarded:
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": PLACE}}
        with pytest.raises(NotLeading):
            await guarded.create(body)
        task = asyncio.create_task(election.run(Worker()))
        await eventually(lambda: election.is_leading, what="a leader")
        await guarded.create(body)
        await end(task)
        election.candidate = election.candidate.wrote({"holderIdentity": "a"}, begun_at=100.0, now=100.0)
        now[0] = 110.0  # as after SIGSTOP, or a machine that slept
        with pytest.raises(NotLeading, match="not held any more"):
            await guarded.delete(CONFIG_MAP, "x", namespace=PLACE)
        assert (await guarded.get(CONFIG_MAP, "x", namespace=PLACE))["metadata"]["name"] == "x", "reading goes on"


async def test_error_of_the_work_ends_the_run_and_gives_the_lease_back(kube: Kube) -> None:
    async def broken() -> None:
        raise LookupError("a bug")

    with pytest.raises(LookupError):
        await candidate(kube, "a", LONG).run(broken)
    lease = await kube.get(LEASE, MANAGER, namespace=PLACE)
    assert lease["spec"]["holderIdentity"] == ""
