"""Replicas that follow a load which rises and falls in steps, on a running platform, with every request accounted for.

    make demo                                        # the platform, the images, and the model `coco` from ../shared/data
    python benchmarks/scaling.py                     # 7 steps of 30 s, then until the replicas are down again; 5 minutes
    python benchmarks/scaling.py --steps 5,75,5 --step-seconds 45 --max-replicas 3 --json run.json --plot run.png

Applies a SeldonDeployment whose hpaSpec asks for replicas by **queue delay**: the mean time that requests wait before the
detector works on them. The detector has one thread, so that a replica is one processor. Locust's users (benchmarks/
locustfile.py) send photos of at most 100,000 bytes; they wait for their boxes, so that too many users mean waiting and not
a heap of requests. Windows are short: replicas may rise by one in 5 s, and fall after 15 s of less demand.

Every second it writes down users, requests per second, times, failures and replicas, and draws them (a PNG). Exit code 1:
a request failed, or the replicas did not rise, or did not come down again. The namespace is deleted in the end.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import math
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import command_line, path, processes
from benchmarks.processes import REPOSITORY
from benchmarks.scaling_plot import draw
from slipway.kube.client import Kube
from slipway.kube.errors import NotFound
from slipway.kube.kinds import DEPLOYMENT, NAMESPACE, POD, SELDON_DEPLOYMENT
from slipway.kube.pods import is_ready
from slipway.onebox.paths import Paths
from slipway.onebox.settings import HOST, load_settings

SPACE, NAME, DETECTOR = "slipway-scaling", "scaling", "yolo-detector"
MANAGER = "slipway-scaling"
STEPS, STEP_S = "5,25,50,75,100,50,5", 30.0
MODEL, SIZE = "models:/coco/1", "320x320"
DELAY = "50m"  # seconds that a request may wait for the detector on average: an autoscaling/v2 quantity
SAMPLE_S = 1.0
READY_S, COOL_S, GONE_S = 180.0, 120.0, 120.0
BEHAVIOR = {
    "scaleUp": {"stabilizationWindowSeconds": 0, "policies": [{"type": "Pods", "value": 1, "periodSeconds": 5}]},
    "scaleDown": {"stabilizationWindowSeconds": 15, "policies": [{"type": "Pods", "value": 1, "periodSeconds": 5}]},
}


NOT_KNOWN = {"per_s": math.nan, "p50_ms": math.nan, "p95_ms": math.nan}
"""Of a step of which Locust wrote nothing down."""


@dataclass(frozen=True)
class Replicas:
    """At one moment, in seconds since the load began: what is wanted, and what takes requests."""

    at_s: float
    wanted: int
    ready: int


@dataclass(frozen=True)
class Moment:
    """What Locust wrote down of the last ten seconds, at one moment. ``failures``: ever."""

    at_s: float
    users: int
    per_s: float
    p50_ms: float
    p95_ms: float
    failures: int


def main() -> int:
    flags = parse()
    locust = processes.output(["benchmarks/locust_environment"]).splitlines()[-1]
    results: dict[str, Any] = {"machine": processes.machine(), "steps": flags.steps, "step_s": flags.step_seconds}
    with tempfile.TemporaryDirectory() as folder:
        results |= asyncio.run(_run(flags, locust, Path(folder)))
    results["load_after"] = processes.load()
    command_line.keep(results, flags.json)
    if flags.plot:
        draw(results, flags.plot)
    wrong = complaints(results)
    print(render(results, wrong))
    return 1 if wrong else 0


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = command_line.parser(__doc__)
    parser.add_argument("--steps", default=STEPS, help="users of each step (default: %(default)s)")
    parser.add_argument("--step-seconds", type=float, default=STEP_S, help="length of each (default: %(default)g)")
    parser.add_argument("--max-replicas", type=int, default=4)
    parser.add_argument("--model", default=MODEL, help="registered model (default: %(default)s)")
    parser.add_argument("--input", default=SIZE, help="its input (default: %(default)s)")
    parser.add_argument("--plot", type=Path, default=REPOSITORY / "build" / "scaling.png", help="default: %(default)s")
    return parser.parse_args(argv)


async def _run(flags: argparse.Namespace, locust: str, folder: Path) -> dict[str, Any]:
    paths = Paths.from_env()
    gateway = f"http://{HOST}:{load_settings(paths.settings).gateway_port}"
    photos = folder / "photos"
    photos.mkdir()
    for name in path.PHOTOS:
        (photos / f"{name}.jpg").write_bytes(path.jpeg(name))
    async with Kube.from_kubeconfig(paths.kubeconfig, user_agent=MANAGER) as kube:
        try:
            await _install(kube, flags)
            argv = locust_argv(locust, flags, gateway, photos, folder / "run")
            return await _watch(kube, argv, folder)
        finally:
            await kube.delete(NAMESPACE, SPACE)


def locust_argv(program: str, flags: argparse.Namespace, gateway: str, photos: Path, csv_prefix: Path) -> list[str]:
    where = ("--namespace", SPACE, "--deployment", NAME, "--photos", str(photos), "--host", gateway)
    what = ("--steps", flags.steps, "--step-seconds", str(flags.step_seconds))
    out = ("--headless", "--only-summary", "--csv", str(csv_prefix), "--csv-full-history")
    return [program, "-f", str(REPOSITORY / "benchmarks" / "locustfile.py"), *where, *what, *out]


async def _install(kube: Kube, flags: argparse.Namespace) -> None:
    """Applied and ready; after the namespace of an earlier run, where it still goes."""

    async def is_free() -> bool:
        try:
            return "deletionTimestamp" not in (await kube.get(NAMESPACE, SPACE))["metadata"]
        except NotFound:
            return True

    await _until(is_free, GONE_S, f"the end of the namespace {SPACE} of an earlier run")
    await kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}}, field_manager=MANAGER)
    await kube.apply(manifest(flags.model, flags.input, flags.max_replicas), field_manager=MANAGER)

    async def is_available() -> bool:
        found = await kube.get(SELDON_DEPLOYMENT, NAME, namespace=SPACE)
        return (found.get("status") or {}).get("state") == "Available"

    await _until(is_available, READY_S, f"{SPACE}/{NAME} Available")


def manifest(model: str, size: str, most: int) -> dict[str, Any]:
    """A transformer and a detector, scaled by how long requests wait for the detector."""
    metric = {"name": "slipway_queue_seconds", "selector": {"matchLabels": {"model_name": DETECTOR}}}
    pods = {"metric": metric, "target": {"type": "AverageValue", "averageValue": DELAY}}
    containers = [
        {"name": "image-transformer", "image": "slipway/image-transformer:0.1.0"},
        {
            "name": DETECTOR,
            "image": "slipway/yolo-detector:0.1.0",
            "env": [{"name": "OMP_NUM_THREADS", "value": "1"}],
        },
    ]
    graph = {
        "name": "image-transformer",
        "type": "TRANSFORMER",
        "parameters": [{"name": "input", "value": size, "type": "STRING"}],
        "children": [{"name": DETECTOR, "type": "MODEL", "modelUri": model}],
    }
    metrics = [{"type": "Pods", "pods": pods}]
    hpa = {"minReplicas": 1, "maxReplicas": most, "metricsv2": metrics, "behavior": BEHAVIOR}
    component = {"hpaSpec": hpa, "spec": {"containers": containers}}
    return {
        "apiVersion": "machinelearning.seldon.io/v1",
        "kind": "SeldonDeployment",
        "metadata": {"name": NAME, "namespace": SPACE},
        "spec": {"predictors": [{"name": "main", "graph": graph, "componentSpecs": [component]}]},
    }


async def _watch(kube: Kube, argv: Sequence[str], folder: Path) -> dict[str, Any]:
    """Until the load is over and the replicas are down, or ``COOL_S`` later."""
    begun, seen = time.time(), list[Replicas]()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SLIPWAY_")}
    with (folder / "locust.log").open("w") as log:
        load = await asyncio.create_subprocess_exec(*argv, stdout=log, stderr=log, env=environment, cwd=folder)
    try:
        over = None
        while over is None or (seen[-1].wanted > 1 and time.time() - over < COOL_S):
            await asyncio.sleep(SAMPLE_S)
            seen.append(await _replicas(kube, time.time() - begun))
            if over is None and load.returncode is not None:
                over = time.time()
    finally:
        if load.returncode is None:
            load.kill()
        await load.wait()
    if not (folder / "run_stats.csv").exists():
        raise RuntimeError(f"Locust ended with {load.returncode}: {(folder / 'locust.log').read_text()[-2000:]}")
    moments = read_history((folder / "run_stats_history.csv").read_text(), begun)
    requests, failures = read_totals((folder / "run_stats.csv").read_text())
    return {
        "replicas": [asdict(one) for one in seen],
        "load": [asdict(one) for one in moments],
        "requests": requests,
        "failures": failures,
        "reasons": (folder / "run_failures.csv").read_text().splitlines()[1:],
    }


async def _replicas(kube: Kube, at_s: float) -> Replicas:
    (deployment,) = (await kube.list(DEPLOYMENT, namespace=SPACE)).items
    pods = (await kube.list(POD, namespace=SPACE)).items
    return Replicas(at_s, int(deployment["spec"]["replicas"]), sum(map(is_ready, pods)))


async def _until(holds: Callable[[], Awaitable[bool]], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not await holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        await asyncio.sleep(SAMPLE_S)


def read_history(text: str, begun: float) -> list[Moment]:
    """The sums of Locust's ``_stats_history.csv``."""
    rows = (row for row in csv.DictReader(text.splitlines()) if row["Name"] == "Aggregated")
    return [
        Moment(
            float(row["Timestamp"]) - begun,
            int(row["User Count"]),
            float(row["Requests/s"]),
            _number(row["50%"]),
            _number(row["95%"]),
            int(row["Total Failure Count"]),
        )
        for row in rows
    ]


def _number(text: str) -> float:
    """0 where nothing was answered meanwhile."""
    return 0.0 if text == "N/A" else float(text)


def read_totals(text: str) -> tuple[int, int]:
    """Requests and failures of Locust's ``_stats.csv``."""
    (row,) = (row for row in csv.DictReader(text.splitlines()) if row["Name"] == "Aggregated")
    return int(row["Request Count"]), int(row["Failure Count"])


def complaints(results: dict[str, Any]) -> list[str]:
    """What the run did not show."""
    wanted = [one["wanted"] for one in results["replicas"]]
    ready = [one["ready"] for one in results["replicas"]]
    wrong = [] if results["load"] else ["Locust wrote no history of the load"]
    if results["failures"] or not results["requests"]:
        wrong.append(f"{results['failures']} of {results['requests']} requests failed: {results['reasons'][:3]}")
    if max(ready, default=0) < 2:
        wrong.append(f"the replicas did not rise: at most {max(ready, default=0)} were ready")
    if wanted and wanted[-1] > 1:
        wrong.append(f"the replicas did not come down: {wanted[-1]} in the end")
    return wrong


def render(results: dict[str, Any], wrong: Sequence[str]) -> str:
    """What happened, a line for each step, in Markdown."""
    lines = [
        f"{processes.told(results['machine'])}; load {results['load_after']} after.",
        "",
        "| users | requests/s | p50 ms | p95 ms | replicas ready |",
        "|---|---|---|---|---|",
    ]
    for number, users in enumerate(results["steps"].split(",")):
        end = (number + 1) * results["step_s"]
        moments = [one for one in results["load"] if one["at_s"] <= end] or results["load"][:1] or [NOT_KNOWN]
        ready = [one["ready"] for one in results["replicas"] if one["at_s"] <= end] or [0]
        last = moments[-1]
        lines.append(f"| {users} | {last['per_s']:.1f} | {last['p50_ms']:.0f} | {last['p95_ms']:.0f} | {ready[-1]} |")
    replicas = [one["ready"] for one in results["replicas"]]
    lines += [
        "",
        f"{results['requests']} requests, {results['failures']} failed; replicas 1 → {max(replicas)} → {replicas[-1]}.",
    ]
    return "\n".join([*lines, *(f"MISSED: {one}" for one in wrong)])


if __name__ == "__main__":
    sys.exit(main())
