"""What can go wrong between a model URI and a folder.

StorageError
├── StorageUnavailable   temporary: no answer from S3
├── SourceNotFound       nothing at the URI
├── UnsupportedUri       a scheme we do not read
├── DigestMismatch       the bytes are not the registered ones
└── DigestNeeded         a pickle from outside the registry, of which the resource has no digest
"""

from __future__ import annotations


class StorageError(Exception):
    """Base of all; the message is one line for a Pod's log."""


class StorageUnavailable(StorageError):
    """The store did not answer."""


class SourceNotFound(StorageError):
    """Nothing is there."""


class UnsupportedUri(StorageError):
    """Not a URI that this initializer can read."""


class DigestMismatch(StorageError):
    """What was read differs from what was registered; the message names both digests."""


class DigestNeeded(StorageError):
    """Loading the model would run code that nobody vouches for; the message has the line that does."""
