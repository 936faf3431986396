"""Where each file of a saved model lies, and which file names would lie on top of one another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from model_wrappers.darknet.errors import ModelFolderError
from model_wrappers.darknet.folder import ENGINES_NAME, FLAVOUR, INT8_NAME, ONNX_NAME
from model_wrappers.model_sums import SUMS_NAME

FLAVOR_NAME = FLAVOUR
LOADER_MODULE = "model_wrappers.mlflow_darknet"  # what MLmodel names: it must import where the model is served
DATA_FOLDER = "data"
CODE_FOLDER = "code"  # pyfunc puts it before everything else that is imported
PROOF_FOLDER = "proof"

_MADE = {
    ONNX_NAME: "the compiled graph",
    INT8_NAME: "the graph in 8 bits",
    ENGINES_NAME: "the record of engines",
    SUMS_NAME.casefold(): "the list of digests",  # compared like this: some file systems know no case
}


@dataclass(frozen=True)
class SourceFiles:
    """The three files that become a model."""

    cfg: Path
    weights: Path
    names: Path

    def __iter__(self) -> Iterator[Path]:
        return iter((self.cfg, self.weights, self.names))

    def in_folder(self, folder: Path) -> SourceFiles:
        """Where they lie in the model folder ``folder``."""
        return SourceFiles(*(folder / DATA_FOLDER / path.name for path in self))


def check_file_names(files: SourceFiles) -> None:
    """Raise ``ModelFolderError`` for a file that would overwrite another one in the model, or be missing from its sums."""
    taken: dict[str, Path] = {}
    for path in files:
        name = path.name.casefold()
        if name in _MADE:
            raise ModelFolderError(str(path), f"{DATA_FOLDER}/{name} of a model is {_MADE[name]}: rename the file")
        if path.name.startswith(".") or not path.name.isprintable():
            raise ModelFolderError(
                str(path),
                "is hidden or has unprintable characters in its name, which SHA256SUMS cannot list: rename it",
            )
        if name in taken:
            raise ModelFolderError(
                str(path), f"would be {DATA_FOLDER}/{path.name} of the model, as {taken[name]} would: rename one"
            )
        taken[name] = path
