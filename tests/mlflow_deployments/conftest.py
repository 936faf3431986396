"""The controller's own platform: the real API, its loop, and a registry that can be turned off."""

from tests.controller.conftest import platform

__all__ = ["platform"]
