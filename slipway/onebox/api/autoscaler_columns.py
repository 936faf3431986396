"""The cells of ``kubectl get hpa`` and ``kubectl get pdb``."""

from __future__ import annotations

from slipway.onebox.api.columns import AGE, NAME, NONE, UNKNOWN, Column, Object, get

MAX_TARGETS = 2


def _targets(hpa: Object) -> str:
    """Current against wanted value of the first two metrics, as kubectl prints them."""
    metrics, now = get(hpa, "spec.metrics", []), get(hpa, "status.currentMetrics", [])
    texts = [_metric(metric, now[index] if index < len(now) else {}) for index, metric in enumerate(metrics)]
    more = f" + {len(texts) - MAX_TARGETS} more..." if len(texts) > MAX_TARGETS else ""
    return ", ".join(texts[:MAX_TARGETS]) + more or NONE


def _metric(metric: Object, now: Object) -> str:
    source = str(metric.get("type", ""))
    source = source[:1].lower() + source[1:]
    target, current = get(metric, f"{source}.target", {}), get(now, f"{source}.current", {})
    name = f"{metric[source]['name']}: " if source in ("resource", "containerResource") else ""
    if target.get("averageUtilization") is not None and target.get("averageValue") is None:
        percent = current.get("averageUtilization")
        return f"{name}{UNKNOWN if percent is None else f'{percent}%'}/{target['averageUtilization']}%"
    key = "averageValue" if target.get("averageValue") is not None else "value"
    mark = " (avg)" if key == "averageValue" and source in ("object", "external") else ""
    return f"{name}{current.get(key, UNKNOWN)}/{target.get(key, UNKNOWN)}{mark}"


HPA = (
    NAME,
    Column("Reference", lambda o: f"{get(o, 'spec.scaleTargetRef.kind', '')}/{get(o, 'spec.scaleTargetRef.name', '')}"),
    Column("Targets", _targets),
    Column("MinPods", lambda o: str(get(o, "spec.minReplicas", "<unset>"))),
    Column("MaxPods", lambda o: get(o, "spec.maxReplicas", 0)),
    Column("Replicas", lambda o: get(o, "status.currentReplicas", 0)),
    AGE,
)
PDB = (
    NAME,
    Column("Min Available", lambda o: str(get(o, "spec.minAvailable", "N/A"))),
    Column("Max Unavailable", lambda o: str(get(o, "spec.maxUnavailable", "N/A"))),
    Column("Allowed Disruptions", lambda o: get(o, "status.disruptionsAllowed", 0), "integer"),
    AGE,
)
