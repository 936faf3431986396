"""Reads what `slipway top` shows: the Envoys' counters, the API's Pods, and /proc of their processes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

from slipway.cli.objects import NotReady
from slipway.cli.top_figures import STATS, Counts, Moment, Place, PodUse, added, counts_of
from slipway.contract.fields import FieldError
from slipway.contract.names import predictor_service_name, service_host
from slipway.contract.sdep import SeldonDeployment
from slipway.controller.meta import DEPLOYMENT_ID
from slipway.controller.pod_labels import PREDICTOR
from slipway.kube.client import Kube
from slipway.kube.kinds import DEPLOYMENT, POD, SELDON_DEPLOYMENT
from slipway.kube.pods import is_ready
from slipway.onebox.mesh.admin import Admin
from slipway.onebox.paths import Paths
from slipway.onebox.services.pods import living_containers
from slipway.onebox.supervisor.procfs import cpu_seconds, process_trees, pss_bytes

Object = dict[str, Any]


async def look(kube: Kube, admins: Sequence[Admin], paths: Paths, *, namespace: str | None) -> Moment:
    """Everything once; ``namespace`` None is all of them.

    Raises:
        NotReady: no Envoy of this machine answers.
        ApiError, Unavailable: the API refuses or is not there.
    """
    at_s = time.monotonic()
    answers = await asyncio.gather(*(admin.stats_text(STATS, buckets=True) for admin in admins))
    known = [counts_of(text) for text in answers if text is not None]
    if not known:
        raise NotReady("no Envoy of this machine answers: `slipway status` tells; on a cluster, ask its Prometheus")
    found = [(await kube.list(kind, namespace=namespace)).items for kind in (SELDON_DEPLOYMENT, DEPLOYMENT, POD)]
    counts = {place: added(one.get(place, Counts()) for one in known) for place in {p for one in known for p in one}}
    uses = await asyncio.to_thread(_container_uses, paths)
    return Moment(at_s, counts, _predictors(found[0]), pod_uses(found[1], found[2], uses))


def _predictors(objects: Sequence[Object]) -> dict[tuple[str, str, str], Place]:
    found: dict[tuple[str, str, str], Place] = {}
    for obj in objects:
        try:
            sdep = SeldonDeployment.from_json(obj)
        except FieldError:
            continue  # stored by an API without admission: its status says what is wrong
        for predictor in sdep.predictors:
            host = service_host(predictor_service_name(sdep.name, predictor), sdep.namespace)
            found[sdep.namespace, sdep.name, predictor.name] = (predictor.name, host)
    return found


def pod_uses(
    deployments: Sequence[Object], pods: Sequence[Object], uses: Mapping[tuple[str, str], tuple[float, int]]
) -> list[PodUse]:
    """The Pods of SeldonDeployments. ``uses``: seconds of processor and bytes by (namespace, Pod)."""
    predictors = {
        (obj["metadata"]["namespace"], obj["metadata"]["name"]): (obj["metadata"].get("annotations") or {}).get(
            PREDICTOR, ""
        )
        for obj in deployments
    }
    found = []
    for pod in pods:
        meta, labels = pod["metadata"], pod["metadata"].get("labels") or {}
        if DEPLOYMENT_ID not in labels:
            continue
        cpu_s, memory = uses.get((meta["namespace"], meta["name"]), (None, None))
        found.append(
            PodUse(
                namespace=meta["namespace"],
                name=meta["name"],
                predictor=predictors.get((meta["namespace"], labels.get("app", "")), ""),
                deployment=labels[DEPLOYMENT_ID],
                is_ready=is_ready(pod),
                restarts=sum(
                    item.get("restartCount", 0) for item in (pod.get("status") or {}).get("containerStatuses") or ()
                ),
                cpu_s=cpu_s,
                pss_bytes=memory,
            )
        )
    return found


def _container_uses(paths: Paths) -> dict[tuple[str, str], tuple[float, int]]:
    found: dict[tuple[str, str], tuple[float, int]] = {}
    living = living_containers(paths)
    trees = process_trees(identity.pid for identity in living.values())
    for name, identity in living.items():
        namespace, pod, _ = name.split("/", 2)
        tree = trees[identity.pid]
        cpu_s, memory = found.get((namespace, pod), (0.0, 0))
        found[namespace, pod] = (cpu_s + sum(map(cpu_seconds, tree)), memory + sum(map(pss_bytes, tree)))
    return found
