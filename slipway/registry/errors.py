"""What can go wrong between us and the registry.

RegistryError
├── RegistryUnavailable   temporary: no answer, 5xx, 429
│   └── UnreadableAnswer  an answer, but too long or not MLflow's: of this one model perhaps, others may be readable
├── RegistryRefused       permanent: 401, 403
├── ModelNotFound         permanent: no such model, version or alias
├── InvalidModelUri       permanent: the URI does not read as one
├── MovedElsewhere        permanent: somebody else has moved the alias meanwhile
└── InvalidMove           permanent: a move of an alias without its author, or with too long a reason
"""

from __future__ import annotations


class RegistryError(Exception):
    """Base of all; ``retry_after_s`` is None where trying again cannot help."""

    retry_after_s: float | None = None


class RegistryUnavailable(RegistryError):
    """The registry did not answer, or said to come back."""

    retry_after_s = 5.0


class UnreadableAnswer(RegistryUnavailable):
    """What was asked about cannot be read; another question may be answered."""


class RegistryRefused(RegistryError):
    """The registry knows us not: wrong login or no right."""


class ModelNotFound(RegistryError):
    """No such registered model, version or alias."""


class InvalidModelUri(RegistryError):
    """Not one of ``models:/name@alias``, ``models:/name/3``."""


class MovedElsewhere(RegistryError):
    """The alias names another version than it was to be moved from."""


class InvalidMove(RegistryError):
    """A move of an alias that says too little or too much about itself."""
