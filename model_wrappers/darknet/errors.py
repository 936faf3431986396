"""What can be wrong with a Darknet model: every error says where, what, and what would be right."""

from __future__ import annotations


class DarknetError(Exception):
    """Base of every error of this library; ``str()`` is one sentence for people."""


class CfgError(DarknetError):
    """A ``.cfg`` that Darknet would misread, or that this library does not know.

    Attributes: ``path`` (the file's name as given), ``line`` (1-based, 0 for the whole file).
    """

    def __init__(self, path: str, line: int, message: str) -> None:
        super().__init__(f"{path}:{line}: {message}" if line else f"{path}: {message}")
        self.path = path
        self.line = line


class WeightsError(DarknetError):
    """A ``.weights`` file that is not what the cfg implies. Attribute: ``path``."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path


class NamesError(DarknetError):
    """A ``.names`` file that does not name the cfg's classes. Attribute: ``path``."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path


class ModelFolderError(DarknetError):
    """A folder without exactly one cfg, weights and names file. Attribute: ``path``."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path


class EngineError(DarknetError):
    """An engine that is unknown, not installed, or whose graph does not belong to the model."""


class InputError(DarknetError):
    """Pixels of the wrong type or shape."""


class ProofError(DarknetError):
    """A model whose compiled graph does not compute what its cfg says."""
