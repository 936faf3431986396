"""What can go wrong with MLflow's databases.

TrackingError
├── SettingsError      the environment says too little, or too much
├── NewerSchemaError   a newer MLflow has had the database
├── SchemaNotReady     temporary: an older one, and nobody upgrades it
├── DatabaseError      PostgreSQL does not answer, or refuses
├── BackupError        a backup was not made, is not whole, or is not there
└── InUse              a database that is to be replaced has other users
"""

from __future__ import annotations


class TrackingError(Exception):
    """Base of all; the message is one line for a Pod's log."""


class SettingsError(TrackingError):
    """A variable is missing or has no use; the message names it and what would be right."""


class NewerSchemaError(TrackingError):
    """A newer MLflow has had this database; the message says what to do."""


class SchemaNotReady(TrackingError):
    """The schema is not that of this MLflow yet."""


class DatabaseError(TrackingError):
    """The message is PostgreSQL's own, without the statement and its values."""


class BackupError(TrackingError):
    """The message says which backup, and what of it."""


class InUse(TrackingError):
    """Somebody is connected to a database that is to be replaced."""
