"""The MLflow flavour ``darknet``: a cfg, its weights and its names as one versioned model.

    from model_wrappers import mlflow_darknet
    mlflow_darknet.log_model(cfg=…, weights=…, names=…, registered_model_name="yolo", aliases=["challenger"])
    mlflow_darknet.load_model("models:/yolo@challenger").detect(rgb)

MLflow's own ``mlflow.pyfunc.load_model``, ``mlflow models serve`` and ``mlflow models predict`` take the same models.
"""

from model_wrappers.mlflow_darknet.environment import get_default_conda_env, get_default_pip_requirements
from model_wrappers.mlflow_darknet.layout import (
    DATA_FOLDER,
    FLAVOR_NAME,
    PROOF_FOLDER,
    SourceFiles,
    check_file_names,
)
from model_wrappers.mlflow_darknet.loading import load_model
from model_wrappers.mlflow_darknet.registration import (
    DIGEST_TAG,
    RegistrationError,
    log_model,
    proof_tags,
    set_alias,
    tag_version,
)
from model_wrappers.mlflow_darknet.saving import save_model
from model_wrappers.mlflow_darknet.scoring import PhotoModel, signature
from model_wrappers.mlflow_darknet.scoring import load_pyfunc as _load_pyfunc

__all__ = [
    "DATA_FOLDER",
    "DIGEST_TAG",
    "FLAVOR_NAME",
    "PROOF_FOLDER",
    "PhotoModel",
    "RegistrationError",
    "SourceFiles",
    "_load_pyfunc",  # MLflow calls it by this name
    "check_file_names",
    "get_default_conda_env",
    "get_default_pip_requirements",
    "load_model",
    "log_model",
    "proof_tags",
    "save_model",
    "set_alias",
    "signature",
    "tag_version",
]
