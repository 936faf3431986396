"""Two controllers of one API at once: they agree, come to rest, and lose nothing of a status."""

from __future__ import annotations

import asyncio

from slipway.controller.keep import keep
from slipway.kube.kinds import DEPLOYMENT, SELDON_DEPLOYMENT
from tests.contract.manifests import predictor, sdep
from tests.controller.cases import SETTINGS
from tests.controller.conftest import NAMESPACE, Platform
from tests.controller.test_reconcile import available, split

A, B = "iris-a-0-clf", "iris-b-0-clf"


async def test_two_controllers_agree_and_come_to_rest(platform: Platform) -> None:
    stop = asyncio.Event()
    second = asyncio.create_task(keep(platform.kube, SETTINGS, platform.address, stop))
    for traffic in (90, 50, 0):
        await platform.apply(sdep(predictor("a", traffic=traffic), predictor("b", traffic=100 - traffic)))
        await available(platform, A, B)
        for name in (A, B):
            await platform.make_pod(name, ready=True)
    assert await split(platform) == [0, 100]
    await platform.until(lambda status: any(status["traffic"]["effective"].values()), what="Pods in the status")
    stop.set()
    await second
    await platform.stop()
    before = await platform.kube.get(SELDON_DEPLOYMENT, "iris", namespace=NAMESPACE)
    assert before["status"]["traffic"]["effective"] == {"a": 0.0, "b": 100.0}
    for name in (A, B):
        found = await platform.kube.get(DEPLOYMENT, name, namespace=NAMESPACE)
        assert found["metadata"]["generation"] == 1, "percentages alone restart nothing, whoever writes them"
    events = await platform.events()
    assert events["CreateDeployment"] <= 4, "each of the two may have made each"
    assert not [reason for reason in events if reason in ("UpdateDeployment", "InternalError", "DeleteDeployment")]
