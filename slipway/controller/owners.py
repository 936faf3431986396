"""Whose an object is that has the name of one to be made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slipway.contract.sdep import KIND, SeldonDeployment
from slipway.controller.meta import DEPLOYMENT_ID, MANAGED_BY


class NameTaken(Exception):
    """An object of that name is somebody else's; what would be right is in the text."""


def is_owned_by(obj: Mapping[str, Any], uid: str) -> bool:
    return any(owner.get("uid") == uid for owner in obj["metadata"].get("ownerReferences") or ())


def check_free(found: Mapping[str, Any], kind: str, sdep: SeldonDeployment) -> None:
    """Raises NameTaken unless ``found`` is of ``sdep``, or of one of the same name that was before it: that is adopted."""
    owners = found["metadata"].get("ownerReferences") or ()
    if any((one.get("kind"), one.get("name")) == (KIND, sdep.name) for one in owners):
        return
    ours = {DEPLOYMENT_ID: sdep.name, **MANAGED_BY}
    if not owners and ours.items() <= (found["metadata"].get("labels") or {}).items():
        return  # an orphan: `kubectl delete --cascade=orphan` leaves them
    name = found["metadata"]["name"]
    whose = " and ".join(f"{one.get('kind')} {one.get('name')}" for one in owners)
    belongs = f"belongs to {whose}" if whose else "is there already and belongs to nobody"
    raise NameTaken(f"{kind} {name} {belongs}: rename the predictor or container, or delete that {kind}")
