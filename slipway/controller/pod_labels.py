"""Edits of a predictor's labels reach running Pods as labels, not as a new Pod template: nothing restarts for them.

The label ``version`` is left out: routes select Pods by it, so Pods of another version are other Pods.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from slipway.contract.sdep import SeldonDeployment
from slipway.controller.meta import Object

PREDICTOR = "slipway.dev/predictor"
LABELS = "slipway.dev/predictor-labels"
TEMPLATE = "slipway.dev/template"
"""Annotations of a Deployment: its predictor's name, the labels in its Pod template, a digest of all else in that."""

VARIABLE = "PREDICTOR_LABELS"


def labels_json(labels: Mapping[str, str]) -> str:
    return json.dumps(dict(labels), separators=(",", ":"), sort_keys=True)


def template_notes(template: Object, predictor: str, labels: Mapping[str, str]) -> dict[str, str]:
    """The three annotations of a Deployment with this Pod template."""
    text = json.dumps(_relabelled(template, old=labels, new={}), sort_keys=True)
    return {
        PREDICTOR: predictor,
        LABELS: labels_json(labels),
        TEMPLATE: hashlib.sha256(text.encode()).hexdigest()[:16],
    }


def unrestarted(wanted: Object, found: Mapping[str, Any] | None) -> Object:
    """``wanted``, with the labels that the Pod template of ``found`` has where nothing else in it is to change."""
    if found is None or wanted["kind"] != "Deployment":
        return wanted
    notes, old_notes = wanted["metadata"]["annotations"], found["metadata"].get("annotations") or {}
    if LABELS not in old_notes or old_notes.get(TEMPLATE) != notes[TEMPLATE] or old_notes[LABELS] == notes[LABELS]:
        return wanted
    new, old = json.loads(notes[LABELS]), json.loads(old_notes[LABELS])
    if new.get("version") != old.get("version"):
        return wanted
    template = _relabelled(wanted["spec"]["template"], old=new, new=old)
    metadata = {**wanted["metadata"], "annotations": {**notes, LABELS: old_notes[LABELS]}}
    return {**wanted, "metadata": metadata, "spec": {**wanted["spec"], "template": template}}


def label_changes(
    sdep: SeldonDeployment, deployments: Iterable[Mapping[str, Any]], pods: Iterable[Mapping[str, Any]]
) -> Iterator[tuple[str, dict[str, str | None]]]:
    """(Pod, labels to set, None to remove) of every Pod that has not its predictor's labels of now."""
    wanted: dict[str, tuple[dict[str, str], set[str]]] = {}
    for deployment in deployments:
        notes = deployment["metadata"].get("annotations") or {}
        predictor = next((item for item in sdep.predictors if item.name == notes.get(PREDICTOR)), None)
        if predictor is not None and LABELS in notes:
            labels = {key: value for key, value in predictor.labels.items() if key != "version"}
            gone = json.loads(notes[LABELS]).keys() - labels.keys() - {"version"}
            wanted[deployment["metadata"]["name"]] = labels, gone
    for pod in pods:
        has = pod["metadata"].get("labels") or {}
        if "deletionTimestamp" in pod["metadata"] or has.get("app") not in wanted:
            continue
        labels, gone = wanted[has["app"]]
        change: dict[str, str | None] = {key: value for key, value in labels.items() if has.get(key) != value}
        change |= dict.fromkeys(sorted(gone & has.keys()))
        if change:
            yield pod["metadata"]["name"], change


def _relabelled(template: Object, *, old: Mapping[str, str], new: Mapping[str, str]) -> Object:
    """A Pod template with the predictor's labels ``new`` in place of ``old``, ``version`` apart."""
    metadata, spec = template["metadata"], template["spec"]
    kept = {key: value for key, value in metadata["labels"].items() if key == "version" or key not in old}
    labels = {**kept, **{key: value for key, value in new.items() if key != "version"}}
    containers = [
        {**container, "env": [_variable(item, new) for item in container.get("env") or ()]}
        for container in spec["containers"]
    ]
    return {
        **template,
        "metadata": {**metadata, "labels": labels},
        "spec": {**spec, "containers": containers},
    }


def _variable(item: Mapping[str, Any], labels: Mapping[str, str]) -> Object:
    return {**item, "value": labels_json(labels)} if item["name"] == VARIABLE else dict(item)
