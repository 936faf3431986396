"""What a process needs to run a saved model: the files by which MLflow makes an environment for it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

CONDA_NAME = "conda.yaml"
PYTHON_ENV_NAME = "python_env.yaml"
REQUIREMENTS_NAME = "requirements.txt"


def get_default_pip_requirements() -> list[str]:
    """The packages beside MLflow's that the pyfunc form imports, at the versions of this process."""
    return [f"{name}=={version(name)}" for name in ("numpy", "onnxruntime", "opencv-python-headless")]


def get_default_conda_env() -> dict[str, Any]:
    """A conda environment with those packages and MLflow."""
    from mlflow.utils.environment import _mlflow_conda_env

    return dict(_mlflow_conda_env(additional_pip_deps=get_default_pip_requirements()))  # type: ignore[no-untyped-call]


def write_environment(folder: Path, pip_requirements: Sequence[str] | None) -> None:
    """``conda.yaml``, ``python_env.yaml`` and ``requirements.txt`` into a model folder.

    ``pip_requirements`` stand in for the default ones. ``model_wrappers`` is none of them: it is on no package index, so it
    must be there, or come along as ``code_paths``.
    """
    from mlflow.utils.environment import _process_pip_requirements, _PythonEnv

    asked = None if pip_requirements is None else list(pip_requirements)
    conda, requirements, _ = _process_pip_requirements(  # type: ignore[no-untyped-call]
        get_default_pip_requirements(), asked
    )
    (folder / CONDA_NAME).write_text(yaml.safe_dump(conda, sort_keys=False))
    (folder / REQUIREMENTS_NAME).write_text("".join(f"{line}\n" for line in requirements))
    _PythonEnv.current().to_yaml(str(folder / PYTHON_ENV_NAME))  # type: ignore[no-untyped-call]
