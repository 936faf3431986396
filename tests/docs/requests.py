"""What the parts of a cluster ask of its nodes, by part: the sums of the page's table of costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from slipway.contract.quantity import parse_quantity
from tests.docs import kubectl
from tests.helm_values.charts import Values

GIB = 1 << 30


@dataclass(frozen=True)
class Sum:
    """Processors, bytes of memory, bytes of disk."""

    cpu: float = 0
    memory: float = 0
    disk: float = 0

    def __add__(self, other: Sum) -> Sum:
        return Sum(self.cpu + other.cpu, self.memory + other.memory, self.disk + other.disk)

    def times(self, count: int) -> Sum:
        return Sum(self.cpu * count, self.memory * count, self.disk * count)

    def row(self) -> tuple[str, str, str]:
        """As the page writes it: processors, GiB of memory, GiB of disk."""
        return f"{self.cpu:.2f}", f"{self.memory / GIB:.2f} GiB", f"{self.disk / GIB:.0f} GiB" if self.disk else "none"


def total(sums: Iterable[Sum]) -> Sum:
    whole = Sum()
    for item in sums:
        whole += item
    return whole


def asked(resources: Mapping[str, Any], *, disk: str = "0") -> Sum:
    requests = resources["requests"]
    return Sum(
        float(parse_quantity(requests["cpu"])), float(parse_quantity(requests["memory"])), float(parse_quantity(disk))
    )


def of_objects(objects: Iterable[kubectl.Object]) -> Sum:
    """Of what runs all the time: Deployments, and PostgreSQL's clusters with their disks."""
    return total(_of_object(item) for item in objects)


def _of_object(item: kubectl.Object) -> Sum:
    spec = item.get("spec", {})
    if item["kind"] == "Deployment":
        containers = spec["template"]["spec"]["containers"]
        return total(asked(container["resources"]) for container in containers).times(spec["replicas"])
    if item["kind"] == "Cluster":
        return asked(spec["resources"], disk=spec["storage"]["size"]).times(spec["instances"])
    return Sum()


def of_istio(istiod: Values, gateway: Values) -> Sum:
    scaling = gateway["autoscaling"]
    gateways = scaling["minReplicas"] if scaling["enabled"] else gateway["replicaCount"]
    control = istiod["autoscaleMin"] if istiod["autoscaleEnabled"] else istiod["replicaCount"]
    return asked(istiod["resources"]).times(control) + asked(gateway["resources"]).times(gateways)


def of_store(values: Values) -> Sum:
    """Masters, volume servers, the filer, the S3 servers."""
    master, volume, filer = values["master"], values["volume"], values["filer"]
    disks = str(sum(parse_quantity(item["size"]) for item in volume["dataDirs"]))
    return total(
        (
            asked(master["resources"], disk=master["data"]["size"]).times(master["replicas"]),
            asked(volume["resources"], disk=disks).times(volume["replicas"]),
            asked(filer["resources"], disk=filer["data"]["size"]).times(filer["replicas"]),
            asked(values["s3"]["resources"]).times(values["s3"]["replicas"]),
        )
    )


def of_metrics(values: Values) -> Sum:
    """What our values say; the chart adds small things to every node."""
    server = values["prometheus"]["prometheusSpec"]
    disk = server["storageSpec"]["volumeClaimTemplate"]["spec"]["resources"]["requests"]["storage"]
    alerts = values["alertmanager"]["alertmanagerSpec"]
    return total(
        (
            asked(server["resources"], disk=disk),
            asked(alerts["resources"]).times(alerts["replicas"]),
            asked(values["grafana"]["resources"]),
            asked(values["prometheusOperator"]["resources"]),
        )
    )


def of_hub(values: Values) -> Sum:
    disk = values["hub"]["db"]["pvc"]["storage"]
    return asked(values["hub"]["resources"], disk=disk) + asked(values["proxy"]["chp"]["resources"])
