"""Model folders: which file is the cfg, the weights, the names, and the compiled graph."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from model_wrappers.darknet.errors import ModelFolderError
from model_wrappers.plain_yaml import Plain, parse_plain
from model_wrappers.regular_file import read_start

MLMODEL = "MLmodel"
FLAVOUR = "darknet"
ONNX_NAME = "model.onnx"
INT8_NAME = "model.int8.onnx"
ENGINES_NAME = "engines.json"
MAX_MLMODEL_BYTES = 1 << 18  # some seconds to read
MAX_MLMODEL_DEPTH = 32  # metadata of a model may be nested


@dataclass(frozen=True)
class ModelFolder:
    """The files of one model.

    ``onnx_path`` is None where the graph is compiled at load, ``engines_path`` where no engines were timed, ``int8_path``
    where there is no graph in 8 bits.
    """

    cfg_path: Path
    weights_path: Path
    names_path: Path
    onnx_path: Path | None = None
    engines_path: Path | None = None
    int8_path: Path | None = None


def load_model_folder(path: Path) -> ModelFolder:
    """Find the files of a plain folder or of an MLflow model.

    A plain folder has one *.cfg, *.weights and *.names, perhaps model.onnx, engines.json and model.int8.onnx.

    Raises:
        ModelFolderError: a file is missing, or there are two of a kind.
    """
    if not path.is_dir():
        raise ModelFolderError(str(path), "is no folder")
    if (path / MLMODEL).is_file():
        return _from_mlmodel(path)
    cfg, weights, names = (_only(path, suffix) for suffix in (".cfg", ".weights", ".names"))
    made = (path / name for name in (ONNX_NAME, ENGINES_NAME, INT8_NAME))
    return ModelFolder(cfg, weights, names, *(file if file.is_file() else None for file in made))


def _only(path: Path, suffix: str) -> Path:
    found = sorted(file for file in path.iterdir() if file.suffix == suffix and file.is_file())
    if len(found) != 1:
        names = ", ".join(file.name for file in found) or "none"
        raise ModelFolderError(str(path), f"exactly one *{suffix} file is expected, found {names}")
    return found[0]


def _from_mlmodel(path: Path) -> ModelFolder:
    flavour = _flavour(path / MLMODEL)
    kinds = ("cfg", "weights", "names", "onnx", "engines", "int8")
    files = {key: _inside(path, key, flavour[key]) for key in kinds if flavour.get(key)}
    missing = [key for key in ("cfg", "weights", "names") if key not in files]
    if missing:
        raise ModelFolderError(str(path / MLMODEL), f"flavour '{FLAVOUR}' has no {', '.join(missing)}")
    made = (files.get(key) for key in kinds[3:])
    return ModelFolder(files["cfg"], files["weights"], files["names"], *made)


def _flavour(path: Path) -> dict[str, Plain]:
    data = read_start(path, MAX_MLMODEL_BYTES + 1)
    if len(data) > MAX_MLMODEL_BYTES:
        raise ModelFolderError(str(path), f"is larger than {MAX_MLMODEL_BYTES} bytes")
    try:
        document = parse_plain(data, max_depth=MAX_MLMODEL_DEPTH)
    except (yaml.YAMLError, UnicodeDecodeError) as exc:
        raise ModelFolderError(str(path), f"is not YAML that can be used: {' '.join(str(exc).split())}") from exc
    flavours = document.get("flavors") if isinstance(document, dict) else None
    flavour = flavours.get(FLAVOUR) if isinstance(flavours, dict) else None
    if not isinstance(flavour, dict):
        known = ", ".join(flavours) if isinstance(flavours, dict) else "none"
        raise ModelFolderError(str(path), f"has no flavour '{FLAVOUR}' (flavours: {known})")
    return flavour


def _inside(folder: Path, key: str, value: object) -> Path:
    relative = Path(str(value))
    if relative.is_absolute() or ".." in relative.parts:
        raise ModelFolderError(str(folder / MLMODEL), f"{key}: {value!r} leaves the model folder")
    file = folder / relative
    if not file.is_file():
        raise ModelFolderError(str(folder / MLMODEL), f"{key}: {value!r} is not in the folder")
    return file
