"""The shape of a securityContext, of a Pod or of a container: what is read of it to fill in the rest."""

from __future__ import annotations

from slipway.contract.fields import Fields


def check_security(fields: Fields) -> None:
    """``fields``: a PodSpec, or a container. Raises FieldError."""
    if (context := fields.child("securityContext")) is not None and (rights := context.child("capabilities")):
        for key in ("add", "drop"):
            rights.items(key, lambda value, _: value)
