"""What goes wrong around backups; every message is fit for people.

BackupError
├── NotMade     the backup was not made, and there is no file
├── Damaged     the file is not what a backup wrote; names the member
└── NotRestored the home was not touched
"""

from __future__ import annotations


class BackupError(Exception):
    """A backup or a restore did not take place."""


class NotMade(BackupError):
    """Something of the platform could not be copied."""


class Damaged(BackupError):
    """``file`` is no backup, or no longer one; ``member`` is the first that shows it."""

    def __init__(self, file: str, member: str, why: str) -> None:
        self.file, self.member, self.why = file, member, why
        super().__init__(f"{file}: {member}: {why}" if member else f"{file}: {why}")


class NotRestored(BackupError):
    """Here, or by this release, the backup cannot be restored."""
