"""What every prepackaged server tells of its model: provenance on replies, ``/metadata``."""

from __future__ import annotations

from typing import Any, ClassVar

from slipway.servers.folder import ModelFolder


class ModelServer:
    """A component over one model folder. Subclasses load it in ``load`` and answer in ``predict``."""

    platform: ClassVar[str] = ""

    def __init__(self, model_uri: str | None = None) -> None:
        self.folder = ModelFolder.of(model_uri)
        self.provenance: dict[str, str] | None = None

    def load(self) -> None:
        """Read what the folder says of itself. Raises ModelFolderError."""
        self.provenance = self.folder.provenance()
        self.folder.metadata()  # one that cannot be read stops the start, not the first question

    def init_metadata(self) -> dict[str, Any]:
        """``metadata.yaml`` of the folder where there is one; what of it is unsaid comes from the model."""
        return {**self.described(), **(self.folder.metadata() or {})}

    def described(self) -> dict[str, Any]:
        """Name, version, digest and platform."""
        facts = self.folder.provenance()
        if facts is None:
            return {"name": self.folder.path.name, "versions": [], "platform": self.platform}
        return {
            "name": facts["name"],
            "versions": [facts["version"] or facts["digest"]],
            "platform": self.platform,
            "custom": {"digest": facts["digest"], "uri": facts["uri"]},
        }
