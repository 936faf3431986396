"""Slipway: a SeldonDeployment from a notebook to a canary."""

__version__ = "0.1.0"
