"""From apply to the first answer through the gateway, and where the time goes.

Each round applies a SeldonDeployment, asks it every few milliseconds until it answers, watches what appears meanwhile, and
deletes it. A stage is what passed since the one before it; medians over the rounds, in milliseconds. The processor time of
each container until it answered does not depend on what else the machine does.
"""

from __future__ import annotations

import argparse
import asyncio
import copy
import io
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp
import yaml

from benchmarks import command_line
from benchmarks.idle import cpu_s
from benchmarks.onebox import Machine, Manifest, platform, predictions, trivial_deployment
from benchmarks.processes import REPOSITORY, machine, told
from slipway.kube.kinds import DEPLOYMENT, ENDPOINT_SLICE, POD, SELDON_DEPLOYMENT, Kind
from slipway.kube.pods import is_ready
from slipway.kube.reflector import Reflector
from slipway.onebox.services.pods import living_containers

ROUNDS = 5
ASK_S = 0.005
GIVE_UP_S = 180.0
GONE_POLL_S = 0.1
CANARY = REPOSITORY / "seldon" / "overlays" / "canary" / "seldondeployment.yaml"
STAGES = ("applied", "Deployment", "Pod", "started", "Pod ready", "endpoint", "answer")
"""In the order in which they come; ``started``: the last container's process has begun."""
CPU = "processor time of "
WATCHED = (DEPLOYMENT, POD, ENDPOINT_SLICE)
EPILOG = """\
examples:
  python -m benchmarks.first_answer
  python -m benchmarks.first_answer --canary --rounds 3    # also the demo's canary, with its registry and models

``all ready`` is when the last predictor's Pod is; a canary answers as soon as one of its predictors can.
"""

Marks = dict[str, float]


def main() -> int:
    arguments = _parser().parse_args()
    facts = machine()
    with platform(with_registry=arguments.canary) as here:
        cases: dict[str, tuple[Manifest, bytes, str]] = {"one MODEL": (trivial_deployment("first"), *json_body())}
        if arguments.canary:
            here.run("scripts.demo", "--photos", "8")
            here.run("slipway.cli.main", "delete", "sdep", "yolo")
            cases["canary"] = (canary(), *photo_body())
        found = {name: asyncio.run(measure(here, *case, rounds=arguments.rounds)) for name, case in cases.items()}
    results = {"machine": facts, "rounds": arguments.rounds, "ms": found}
    command_line.keep(results, arguments.json)
    print(render(results))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = command_line.parser(__doc__, epilog=EPILOG)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"applies of each (default {ROUNDS})")
    parser.add_argument(
        "--canary", action="store_true", help="also seldon/overlays/canary, on a platform with a registry"
    )
    return parser


def json_body() -> tuple[bytes, str]:
    return b'{"data": {"ndarray": [[1.0]]}}', "application/json"


def photo_body() -> tuple[bytes, str]:
    """A photo as the demo's clients send it."""
    from scripts.demo import photo  # its imports are only needed here

    return bytes(photo(0)), "image/jpeg"


def canary() -> Manifest:
    """The overlay under a name of its own."""
    manifest: Manifest = yaml.safe_load(CANARY.read_text())
    return {**copy.deepcopy(manifest), "metadata": {"name": "first", "namespace": "default"}}


async def measure(here: Machine, manifest: Manifest, body: bytes, content_type: str, *, rounds: int) -> list[Marks]:
    """The marks of each round, in milliseconds since its apply."""
    found = []
    await _nothing_runs(here)
    for _ in range(rounds):
        found.append(await _round(here, manifest, body, content_type))
        await _delete(here, manifest)
    return found


async def _round(here: Machine, manifest: Manifest, body: bytes, content_type: str) -> Marks:
    begun, marks = 0.0, Marks()
    predictors = manifest["spec"]["predictors"]
    async with here.kube() as kube, Reflector(kube, WATCHED, "default") as reflector, asyncio.timeout(GIVE_UP_S):

        async def mark() -> None:
            while "all ready" not in marks:
                await reflector.changed()
                found = {kind: list(reflector.objects(kind).values()) for kind in WATCHED}
                for name in seen(found, len(predictors)):
                    marks.setdefault(name, (time.perf_counter() - begun) * 1000)

        await reflector.wait_synced()
        async with asyncio.TaskGroup() as tasks:
            begun = time.perf_counter()
            tasks.create_task(mark())
            await kube.apply(manifest, field_manager="benchmark")
            marks["applied"] = (time.perf_counter() - begun) * 1000
            await _first_answer(predictions(here, manifest), body, content_type)
            marks["answer"] = (time.perf_counter() - begun) * 1000
            marks |= _start_cpu_ms(here, manifest["metadata"]["name"])
    return marks


def _start_cpu_ms(here: Machine, name: str) -> Marks:
    """Processor time of a deployment's containers until now, most of it their start; of several with one name the mean."""
    spent: dict[str, list[float]] = {}
    mine = [item for item in living_containers(here.paths).items() if item[0].startswith(f"default/{name}-")]
    for key, first in mine:
        spent.setdefault(f"{CPU}{key.rpartition('/')[2]}", []).append(cpu_s(first.pid) * 1000)
    return {name: statistics.mean(values) for name, values in spent.items()}


async def _first_answer(url: str, body: bytes, content_type: str) -> None:
    async with aiohttp.ClientSession() as session:
        while True:
            async with session.post(url, data=io.BytesIO(body), headers={"Content-Type": content_type}) as reply:
                await reply.read()
                if reply.status == 200:
                    return
            await asyncio.sleep(ASK_S)


def seen(objects: Mapping[Kind, Sequence[Mapping[str, Any]]], predictors: int) -> set[str]:
    """The stages that objects show to be reached by at least one predictor, and ``all ready``."""
    pods = objects[POD]
    endpoints = [item for one in objects[ENDPOINT_SLICE] for item in one.get("endpoints") or ()]
    reached = {
        "Deployment": bool(objects[DEPLOYMENT]),
        "Pod": bool(pods),
        "started": any(_has_started(pod) for pod in pods),
        "Pod ready": any(is_ready(pod) for pod in pods),
        "endpoint": any((item.get("conditions") or {}).get("ready") for item in endpoints),
        "all ready": sum(is_ready(pod) for pod in pods) >= predictors,
    }
    return {name for name, holds in reached.items() if holds}


def _has_started(pod: Mapping[str, Any]) -> bool:
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return bool(statuses) and all("running" in (item.get("state") or {}) for item in statuses)


async def _delete(here: Machine, manifest: Manifest) -> None:
    async with here.kube() as kube:
        await kube.delete(SELDON_DEPLOYMENT, manifest["metadata"]["name"], namespace="default")
    await _nothing_runs(here)


async def _nothing_runs(here: Machine) -> None:
    """Until no SeldonDeployment and no Pod is left."""
    async with here.kube() as kube, asyncio.timeout(GIVE_UP_S):
        while True:
            left = [(await kube.list(kind, namespace="default")).items for kind in (SELDON_DEPLOYMENT, DEPLOYMENT, POD)]
            if not any(left):
                return
            await asyncio.sleep(GONE_POLL_S)


def stages(marks: Sequence[Marks]) -> dict[str, float]:
    """The median of what each stage took, by its name; stages that no round has seen are left out."""
    took: dict[str, list[float]] = {}
    for one in marks:
        before = 0.0
        for name in STAGES:
            if name in one:
                at = max(before, one[name])
                took.setdefault(name, []).append(at - before)
                before = at
    return {name: statistics.median(took[name]) for name in STAGES if name in took}


def render(results: Mapping[str, Any]) -> str:
    lines = [f"{told(results['machine'])}; medians of {results['rounds']} rounds, ms"]
    for case, marks in results["ms"].items():
        lines += ["", f"{case:14}" + "".join(f"{name:>12}" for name in ("stage", "since apply"))]
        for name, took in stages(marks).items():
            since = statistics.median(one[name] for one in marks if name in one)
            lines.append(f"{name:14}{took:12.0f}{since:12.0f}")
        ready = statistics.median(one["all ready"] for one in marks)
        lines.append(f"{'all ready':14}{'':12}{ready:12.0f}")
        for name in dict.fromkeys(name for one in marks for name in one if name.startswith(CPU)):
            lines.append(f"{name}: {statistics.median(one[name] for one in marks if name in one):.0f}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
