"""What a process needs to run a saved model: the three files by which MLflow makes an environment for it.

Formats: MLflow's documentation, "Additional logged files" of a model: conda.yaml is conda's environment file, python_env.yaml
has ``python``, ``build_dependencies`` and ``dependencies``, requirements.txt is pip's.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

CONDA_NAME = "conda.yaml"
PYTHON_ENV_NAME = "python_env.yaml"
REQUIREMENTS_NAME = "requirements.txt"
BUILD_PACKAGES = ("pip", "setuptools", "wheel")
_PROJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def get_default_pip_requirements() -> list[str]:
    """The packages beside MLflow's that the pyfunc form imports, at the versions of this process."""
    return [f"{name}=={version(name)}" for name in ("numpy", "onnxruntime", "opencv-python-headless")]


def get_default_conda_env() -> dict[str, Any]:
    """A conda environment with those packages and MLflow."""
    return _conda_env(_with_mlflow(get_default_pip_requirements()))


def write_environment(folder: Path, pip_requirements: Sequence[str] | None) -> None:
    """``conda.yaml``, ``python_env.yaml`` and ``requirements.txt`` into a model folder.

    ``pip_requirements`` stand in for the default ones. ``model_wrappers`` is none of them: it is on no package index, so it
    must be there, or come along as ``code_paths``.

    Raises:
        ValueError: see ``check_requirements``.
    """
    requirements = _with_mlflow(get_default_pip_requirements() if pip_requirements is None else pip_requirements)
    python_env = {
        "python": platform.python_version(),
        "build_dependencies": [_installed(name) for name in BUILD_PACKAGES],
        "dependencies": [f"-r {REQUIREMENTS_NAME}"],
    }
    (folder / REQUIREMENTS_NAME).write_text("".join(f"{line}\n" for line in requirements))
    (folder / CONDA_NAME).write_text(yaml.safe_dump(_conda_env(requirements), sort_keys=False))
    (folder / PYTHON_ENV_NAME).write_text(yaml.safe_dump(python_env, sort_keys=False))


def check_requirements(lines: Sequence[str]) -> None:
    """Raise ``ValueError`` for what is no requirement, such as an option of pip: a file that it names does not come along."""
    for line in lines:
        _project(line)


def _with_mlflow(requirements: Sequence[str]) -> list[str]:
    """MLflow loads the model: it is always one of them."""
    projects = [_project(line) for line in requirements]
    mlflow = [] if {"mlflow", "mlflow-skinny"} & {*projects} else [f"mlflow=={version('mlflow')}"]
    return [*mlflow, *requirements]


def _project(line: str) -> str:
    match = _PROJECT.match(line)
    if match is None:
        raise ValueError(f"pip_requirements: {line!r} is no requirement: a line such as 'numpy>=1.26' is expected")
    return match[0].lower()


def _conda_env(requirements: Sequence[str]) -> dict[str, Any]:
    pip = _installed("pip", "<=")  # conda-forge has a new one some days later
    dependencies = [f"python={platform.python_version()}", pip, {"pip": list(requirements)}]
    return {"name": "mlflow-env", "channels": ["conda-forge"], "dependencies": dependencies}


def _installed(name: str, operator: str = "==") -> str:
    """A requirement of the version that is here; of any where there is none."""
    try:
        return f"{name}{operator}{version(name)}"
    except PackageNotFoundError:
        return name
