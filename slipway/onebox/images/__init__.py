"""Local images: immutable snapshots of sources with a Python environment, addressed by digest, named by tags."""

from slipway.onebox.images.build import ImageDigest, build, ensure
from slipway.onebox.images.store import Image, Store

__all__ = ["Image", "ImageDigest", "Store", "build", "ensure"]
