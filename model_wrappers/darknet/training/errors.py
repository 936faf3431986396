"""What can go wrong before and while a network is trained.

DarknetError
  TrainingError      settings that cannot be trained with; a loss that is no number
    DataSetError     a folder, list or annotation that is not what its form says; carries the file
    CheckpointError  a checkpoint that is broken, or of another training
    PlaceError       a folder or bucket that cannot be read or written
    Interrupted      stopped on request, after a checkpoint was kept
"""

from __future__ import annotations

from model_wrappers.darknet.errors import DarknetError


class TrainingError(DarknetError):
    pass


class DataSetError(TrainingError):
    """Attribute: ``path`` (the file or folder at fault)."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path


class CheckpointError(TrainingError):
    pass


class PlaceError(TrainingError):
    pass


class Interrupted(TrainingError):
    pass
