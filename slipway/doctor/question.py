"""What the doctor asks of the API: lists of objects, and whether somebody may do something."""

from __future__ import annotations

from dataclasses import dataclass

from slipway.kube.kinds import Kind

OWN = "."
"""Stands for the namespace that the doctor was told to look at."""
SYSTEM, ISTIO_SYSTEM, KUBE_SYSTEM = "slipway-system", "istio-system", "kube-system"


@dataclass(frozen=True)
class Question:
    """Objects of one kind: in one namespace or (None) in all, one by its name, or those with these labels."""

    kind: Kind
    namespace: str | None = None
    name: str | None = None
    selector: str | None = None

    def place(self, own: str) -> str | None:
        """The namespace to ask in, where ``own`` is the one that is looked at."""
        return own if self.namespace == OWN else self.namespace

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}" if self.name else str(self.kind)


@dataclass(frozen=True)
class Permission:
    """One verb on one resource, ``pods/log`` included; ``namespace`` empty is the whole cluster, ``name`` empty any object.

    ``user`` empty is whoever asks; a ServiceAccount is ``system:serviceaccount:<namespace>:<name>``.
    """

    verb: str
    group: str
    resource: str
    namespace: str = ""
    user: str = ""
    name: str = ""

    def __str__(self) -> str:
        what = f"{self.verb} {self.resource}" + (f".{self.group}" if self.group else "")
        return f"{what}/{self.name}" if self.name else what


@dataclass(frozen=True)
class Probe:
    """A GET without credentials, asked from here."""

    name: str
    url: str
