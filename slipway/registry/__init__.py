"""Names of models → one version with its digest and place."""

from slipway.registry.errors import InvalidModelUri, ModelNotFound, RegistryError, RegistryRefused, RegistryUnavailable
from slipway.registry.reference import ModelReference, is_model_reference, parse_model_reference
from slipway.registry.resolve import DIGEST_TAG, RegistryAddress, ResolvedModel, resolve

__all__ = [
    "DIGEST_TAG",
    "InvalidModelUri",
    "ModelNotFound",
    "ModelReference",
    "RegistryAddress",
    "RegistryError",
    "RegistryRefused",
    "RegistryUnavailable",
    "ResolvedModel",
    "is_model_reference",
    "parse_model_reference",
    "resolve",
]
