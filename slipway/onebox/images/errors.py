"""What can go wrong with local images.

ImageError
  InvalidReference     not an image name
  InvalidImageFile     an image.yaml breaks its form: which file, which key
  SourceError          a source, package or lock file is missing, too large, or leaves its folder
    SourceChanged      a source changed while it was being copied
  EnvironmentFailed    uv or pip could not make the Python environment; carries its last lines
  NotBuilt             no local image has this name; carries the command that builds it
"""

from __future__ import annotations


class ImageError(Exception):
    """Any failure of this package."""


class InvalidReference(ImageError):
    pass


class InvalidImageFile(ImageError):
    pass


class SourceError(ImageError):
    pass


class SourceChanged(SourceError):
    pass


class EnvironmentFailed(ImageError):
    pass


class NotBuilt(ImageError):
    """``command`` builds the image; FOLDER in it is the one with the image.yaml."""

    def __init__(self, reference: str, command: str) -> None:
        super().__init__(f"image {reference!r} was never built on this machine: run `{command}`")
        self.command = command
