"""``slipway.dev/model-sha256`` of a predictor: what the model folders of its nodes must be, where no registry says it.

One digest is that of every node whose model comes from outside the registry; ``clf=sha256:…,scaler=sha256:…`` gives each
its own, also where the registry knows the version and no digest of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from slipway.contract.annotations import MODEL_SHA256
from slipway.contract.causes import Cause
from slipway.contract.sdep import PredictorSpec, SeldonDeployment


def digest_of(predictor: PredictorSpec, node: str, *, is_registered: bool = False) -> str | None:
    """``sha256:`` and 64 hexadecimal digits; None where nothing is said of the node.

    ``is_registered``: its model is of the registry, which has no digest of it.
    """
    digests = dict(_entries(predictor))
    found = digests.get(node, None if is_registered else digests.get(""))
    return None if found is None else f"sha256:{found.removeprefix('sha256:')}"


def digest_causes(sdep: SeldonDeployment) -> Iterator[Cause]:
    """Digests of no node, and several that could be the same node's."""
    for index, predictor in enumerate(sdep.predictors):
        cause = partial(Cause, f"spec.predictors[{index}].annotations[{MODEL_SHA256}]")
        entries = list(_entries(predictor))
        given = [name for name, _ in entries]
        known = {node.name for node in predictor.graph.walk()}
        for name in given:
            if name and name not in known:
                yield cause(f"{name!r} is no node of the graph: there are {', '.join(sorted(known))}")
        if len(set(given)) != len(given):
            yield cause(
                "two digests for the same node: of several nodes, name each, as in clf=sha256:…,scaler=sha256:…"
            )


def _entries(predictor: PredictorSpec) -> Iterator[tuple[str, str]]:
    """(node, digest); the node is empty where the digest is for all."""
    for part in filter(None, (predictor.annotations.get(MODEL_SHA256) or "").split(",")):
        node, _, digest = part.strip().rpartition("=")
        yield node, digest
