"""A cordoned node: what runs stays, what is new waits and says why, and `kubectl drain` empties the machine."""

from __future__ import annotations

import os
import subprocess
from typing import Any

import pytest
import yaml

from slipway.kube.client import Kube
from slipway.kube.errors import NotFound, Unavailable
from slipway.kube.kinds import EVENT, POD
from slipway.onebox.runner.references import NODE_NAME
from slipway.onebox.runner.scheduler import Scheduler
from slipway.onebox.runner.scheduling import MAX_PODS, NO_NODE, NO_PLACE, obstacle, placed
from tests.onebox_runner.objects import pod_object
from tests.onebox_runner.onebox import IMAGE, Onebox, pods, rolled_out, web
from tests.waiting import eventually

OPEN: dict[str, Any] = {"spec": {}}
CORDONED: dict[str, Any] = {"spec": {"unschedulable": True}}
TAINT = "node.kubernetes.io/unschedulable"


def pod(**spec: Any) -> dict[str, Any]:
    return pod_object(spec={"containers": [{"name": "main", "image": IMAGE}], **spec})


@pytest.mark.parametrize(
    ("spec", "node", "begins"),
    [
        ({}, OPEN, True),
        ({}, None, True),
        ({}, CORDONED, False),
        ({"nodeName": NODE_NAME}, CORDONED, True),
        ({"tolerations": [{"key": TAINT, "operator": "Exists"}]}, CORDONED, True),
        ({"tolerations": [{"key": TAINT, "effect": "NoSchedule"}]}, CORDONED, True),
        ({"tolerations": [{"operator": "Exists"}]}, CORDONED, True),
        ({"tolerations": [{"key": TAINT, "operator": "Exists", "effect": "NoExecute"}]}, CORDONED, False),
        ({"tolerations": [{"key": TAINT, "value": "x"}]}, CORDONED, False),
        ({"tolerations": [{"key": "gpu", "operator": "Exists"}]}, CORDONED, False),
    ],
)
def test_a_pod_begins_unless_its_node_is_cordoned(
    spec: dict[str, Any], node: dict[str, Any] | None, *, begins: bool
) -> None:
    assert obstacle(pod(**spec), node, 0, {}) == ("" if begins else NO_NODE)
    assert (placed(pod(**spec), node, 0, {})["spec"].get("nodeName") == NODE_NAME) is begins


class Told:
    """Plays the API and the events; the first writes fail as often as ``away`` says."""

    def __init__(self, away: int = 0) -> None:
        self.away = away
        self.bodies: list[dict[str, Any]] = []
        self.reasons: list[str] = []

    async def patch(self, _: object, __: str, body: dict[str, Any], **___: Any) -> None:
        if self.away:
            self.away -= 1
            raise Unavailable("refused")
        self.bodies.append(body)

    def record(self, _: object, reason: str, message: str, **__: Any) -> None:
        assert message in (NO_NODE, NO_PLACE)
        self.reasons.append(reason)


async def test_a_pod_that_waits_says_so_once_and_gets_its_node_after_the_uncordon() -> None:
    told, node = Told(away=1), dict(CORDONED)
    scheduler = Scheduler(told, told, lambda: node)  # type: ignore[arg-type]  # the two methods
    bare = pod()
    assert [scheduler.takes(bare) for _ in range(3)] == [False] * 3
    await eventually(lambda: told.bodies, what="the condition, at the second try")
    (condition,) = told.bodies[0]["status"]["conditions"]
    assert (condition["type"], condition["status"], condition["reason"]) == ("PodScheduled", "False", "Unschedulable")
    assert told.reasons == ["FailedScheduling"]
    node["spec"] = {}
    assert [scheduler.takes(bare) for _ in range(2)] == [True] * 2
    await eventually(lambda: len(told.bodies) == 2, what="its node")
    assert told.bodies[1]["spec"] == {"nodeName": NODE_NAME}
    scheduler.see({})
    await scheduler.close()
    assert len(told.bodies) == 2


def numbered(*numbers: int) -> dict[str, dict[str, Any]]:
    return {f"uid-{number}": pod_object(f"p{number}", uid=f"uid-{number}") for number in numbers}


async def test_a_full_machine_lets_pods_wait_until_another_ends_or_goes() -> None:
    told = Told()
    scheduler = Scheduler(told, told, lambda: None)  # type: ignore[arg-type]  # the two methods
    known = numbered(*range(MAX_PODS + 2))
    scheduler.see(known)
    assert [scheduler.takes(item) for item in known.values()] == [True] * MAX_PODS + [False] * 2
    assert "nodeName" not in scheduler.place(pod_object("made"))["spec"]
    await eventually(lambda: told.reasons == ["FailedScheduling"] * 2)
    *_, last_but_one, last = known.values()
    named = {**last, "spec": {**last["spec"], "nodeName": NODE_NAME}}
    assert not scheduler.takes(named), "who names the node himself waits, too"
    known["uid-0"]["status"] = {"phase": "Succeeded"}
    scheduler.see(known)
    assert scheduler.takes(known["uid-0"]), "what has ended needs no place"
    assert (scheduler.takes(last_but_one), scheduler.takes(last)) == (True, False)
    del known["uid-1"]
    scheduler.see(known)
    assert scheduler.takes(last)
    await scheduler.close()


async def test_pods_that_began_before_the_runner_did_have_their_places_first() -> None:
    told = Told()
    scheduler = Scheduler(told, told, lambda: None)  # type: ignore[arg-type]  # the two methods
    known = numbered(*range(MAX_PODS + 1))
    begun = {**known, **{uid: {**item, "status": {"startTime": "x"}} for uid, item in list(known.items())[1:]}}
    scheduler.see(begun)
    assert not scheduler.takes(begun["uid-0"])
    assert scheduler.takes(begun["uid-250"], is_there=True)
    await scheduler.close()


async def test_no_more_pods_are_promised_a_place_than_there_are() -> None:
    told = Told()
    scheduler = Scheduler(told, told, lambda: None)  # type: ignore[arg-type]  # the two methods
    made = [scheduler.place(pod_object("made"))["spec"].get("nodeName") for _ in range(MAX_PODS + 3)]
    assert made == [NODE_NAME] * MAX_PODS + [None] * 3


def kubectl(onebox: Onebox, *words: str) -> str:
    """kubectl shows no token to a server without TLS: it takes the API's certificate."""
    config = yaml.safe_load(onebox.paths.kubeconfig.read_text())
    (cluster,) = [item["cluster"] for item in config["clusters"]]
    cluster["server"] = cluster["server"].replace("http://", "https://")
    cluster["certificate-authority"] = "secrets/api.crt"
    path = onebox.paths.home / "kubeconfig-tls"
    path.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", **config}))
    env = {**os.environ, "KUBECONFIG": str(path), "HOME": str(onebox.paths.home)}
    done = subprocess.run(["kubectl", *words], env=env, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def test_kubectl_cordons_drains_and_uncordons_the_machine(onebox: Onebox, kube: Kube) -> None:
    await kube.create(web(1))
    await eventually(lambda: rolled_out(kube), timeout_s=30, what="the first roll-out")
    bare = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bare", "namespace": "default"}}
    containers = [{"name": "main", "image": f"{IMAGE}:1"}]
    await kube.create({**bare, "spec": {"containers": containers, "terminationGracePeriodSeconds": 1}})

    async def is_placed() -> bool:
        found = await kube.get(POD, "bare", namespace="default")
        return bool(found["spec"].get("nodeName") == NODE_NAME)

    await eventually(is_placed, what="a bare Pod has its node")
    (before,) = [item["metadata"]["name"] for item in await pods(kube) if item["metadata"]["name"] != "bare"]

    assert "cordoned" in kubectl(onebox, "cordon", NODE_NAME)
    assert "Ready,SchedulingDisabled" in kubectl(onebox, "get", "nodes")
    lease = kubectl(onebox, "describe", "node", NODE_NAME).partition("\nLease:\n")[2].split()
    assert lease[:2] == ["HolderIdentity:", NODE_NAME]
    assert lease[lease.index("RenewTime:") + 1] != "<unset>"
    assert {item["metadata"]["name"] for item in await pods(kube)} == {"bare", before}, "what runs stays"
    assert "drained" in kubectl(onebox, "drain", NODE_NAME, "--force", "--timeout=20s")
    with pytest.raises(NotFound):
        await kube.get(POD, "bare", namespace="default")

    async def waiting() -> dict[str, Any] | None:
        found = [item for item in await pods(kube) if (item.get("status") or {}).get("conditions")]
        return found[0] if len(found) == 1 and found[0]["metadata"]["name"] != before else None

    successor = await eventually(waiting, what="its successor waits")
    assert successor is not None
    (condition,) = successor["status"]["conditions"]
    assert (condition["reason"], condition["message"]) == ("Unschedulable", NO_NODE)
    assert "nodeName" not in successor["spec"]
    name = successor["metadata"]["name"]
    assert kubectl(onebox, "get", "pods", "--no-headers").split()[:3] == [name, "0/1", "Pending"]

    async def reasons() -> list[str]:
        events = (await kube.list(EVENT, namespace="default")).items
        return [item["reason"] for item in events if item["involvedObject"]["name"] == name]

    assert await eventually(reasons, what="its event") == ["FailedScheduling"]
    assert "uncordoned" in kubectl(onebox, "uncordon", NODE_NAME)
    await eventually(lambda: rolled_out(kube), timeout_s=30, what="the Pod that waited")
    (after,) = await pods(kube)
    assert (after["metadata"]["name"], after["spec"]["nodeName"]) == (name, NODE_NAME)
    assert "SchedulingDisabled" not in kubectl(onebox, "get", "nodes")
