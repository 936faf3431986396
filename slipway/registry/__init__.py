"""Names of models → one version with its digest and place; where aliases point, and moving them."""

from slipway.registry.aliases import ALIAS_TAG, AliasMove, Pointer, check_author, move_alias, read_aliases
from slipway.registry.author import present_user
from slipway.registry.errors import (
    InvalidModelUri,
    InvalidMove,
    ModelNotFound,
    MovedElsewhere,
    RegistryError,
    RegistryRefused,
    RegistryUnavailable,
    UnreadableAnswer,
)
from slipway.registry.reference import ModelReference, is_model_reference, parse_model_reference
from slipway.registry.resolve import DIGEST_TAG, ResolvedModel, resolve
from slipway.registry.rest import RegistryAddress, without_login

__all__ = [
    "ALIAS_TAG",
    "DIGEST_TAG",
    "AliasMove",
    "InvalidModelUri",
    "InvalidMove",
    "ModelNotFound",
    "ModelReference",
    "MovedElsewhere",
    "Pointer",
    "RegistryAddress",
    "RegistryError",
    "RegistryRefused",
    "RegistryUnavailable",
    "ResolvedModel",
    "UnreadableAnswer",
    "check_author",
    "is_model_reference",
    "move_alias",
    "parse_model_reference",
    "present_user",
    "read_aliases",
    "resolve",
    "without_login",
]
