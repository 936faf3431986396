"""autoscaling/v1 of a HorizontalPodAutoscaler: what v1 has no field for travels in an annotation, so nothing is lost."""

from __future__ import annotations

import json
from typing import Any

from slipway.onebox.api.errors import bad_request

Object = dict[str, Any]
REST = "slipway.dev/autoscaling-v2"
"""The annotation: a JSON object of what ``spec`` and ``status`` hold in v2 only."""
PERCENT = "targetCPUUtilizationPercentage"
ONLY_V2 = {"spec": ("metrics", "behavior"), "status": ("currentMetrics", "conditions")}


def _is_cpu(metric: Object) -> bool:
    resource = metric.get("resource") or {}
    target = resource.get("target") or {}
    return metric.get("type") == "Resource" and resource.get("name") == "cpu" and "averageUtilization" in target


def to_v1(obj: Object) -> Object:
    """A stored (v2) object as v1 shows it."""
    rest: Object = {  # in v2 and not in v1
        part: {key: obj[part][key] for key in keys if (obj.get(part) or {}).get(key)} for part, keys in ONLY_V2.items()
    }
    shown = {
        **obj,
        **{
            part: {key: value for key, value in (obj.get(part) or {}).items() if key not in keys}
            for part, keys in ONLY_V2.items()
        },
    }
    shown["status"].setdefault("currentReplicas", 0)  # v1 says it always
    metrics = rest["spec"].get("metrics") or []
    cpu = next((metric for metric in metrics if _is_cpu(metric)), None)
    if cpu is not None:
        shown["spec"][PERCENT] = cpu["resource"]["target"]["averageUtilization"]
        rest["spec"]["metrics"] = [metric for metric in metrics if metric is not cpu]
    kept = {part: {key: value for key, value in fields.items() if value} for part, fields in rest.items()}
    if any(kept.values()):
        annotations = {**(obj["metadata"].get("annotations") or {}), REST: json.dumps(kept, sort_keys=True)}
        shown["metadata"] = {**obj["metadata"], "annotations": annotations}
    return shown


def from_v1(obj: Object) -> Object:
    """A v1 object as it is stored. Refused 400 for an annotation that is not ours."""
    annotations = dict(obj["metadata"].get("annotations") or {})
    kept = _kept(annotations.pop(REST, "{}"))
    spec = {key: value for key, value in (obj.get("spec") or {}).items() if key != PERCENT}
    percent = (obj.get("spec") or {}).get(PERCENT)
    metrics = list(kept["spec"].pop("metrics", []))
    if percent is not None:
        target = {"type": "Utilization", "averageUtilization": percent}
        metrics.insert(0, {"type": "Resource", "resource": {"name": "cpu", "target": target}})
    spec |= {**kept["spec"], **({"metrics": metrics} if metrics else {})}
    meta = {key: value for key, value in obj["metadata"].items() if key != "annotations"}
    if annotations:
        meta["annotations"] = annotations
    return {
        **obj,
        "metadata": meta,
        "spec": spec,
        "status": {"currentMetrics": None, **(obj.get("status") or {}), **kept["status"]},
    }


def _kept(text: str) -> Object:
    try:
        value = json.loads(text)
        return {part: dict(value.get(part, {})) for part in ONLY_V2}
    except (ValueError, AttributeError, TypeError) as exc:
        raise bad_request(f"metadata.annotations[{REST}]: {exc}: leave this annotation out") from exc
