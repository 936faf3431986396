"""Kinds of our manifests whose schema nobody gave us: docs/kubernetes.md has the same table."""

from __future__ import annotations

NOT_VALIDATED: dict[tuple[str, str], str] = {}
"""(apiVersion, kind) → where it is used and why there is no schema. Empty: every kind has one."""
