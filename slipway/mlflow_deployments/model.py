"""A model URI → what a detector's predictor must know of it, asked of the registry before anything is deployed."""

from __future__ import annotations

from typing import Any

import aiohttp
from mlflow.protos import databricks_pb2 as codes

from slipway.client.bridge import run
from slipway.mlflow_deployments.errors import DeploymentError, both_ways, invalid
from slipway.mlflow_deployments.predictors import Model
from slipway.mlflow_deployments.release import registry_address
from slipway.mlflow_deployments.settings import DeploySettings, read_size
from slipway.registry import RegistryAddress, is_model_reference, parse_model_reference, resolve

FLAVOR = "darknet"
S3 = "s3://"


def find_model(uri: str, settings: DeploySettings, *, flavor: str | None = None) -> Model:
    """``models:/NAME@ALIAS``, ``models:/NAME/VERSION``, or a folder ``s3://…``.

    Raises:
        DeploymentError: another kind of URI, another flavour, or an input size that nobody says.
        RegistryError: the registry does not know it, or does not answer.
    """
    if flavor not in (None, FLAVOR):
        raise invalid(f"flavor {flavor!r}: this target serves {FLAVOR} models")
    if is_model_reference(uri):
        parse_model_reference(uri)
        size = settings.input or _input(_flavors(uri), uri)
    elif uri.startswith(S3):
        if settings.input is None:
            raise invalid(f"{uri}: the network's input is not known of a folder: add {both_ways(input='WIDTHxHEIGHT')}")
        size = settings.input
    else:
        raise invalid(f"{uri}: not registered: write models:/NAME@ALIAS, models:/NAME/VERSION or {S3}BUCKET/FOLDER")
    return Model(uri, size)


def _flavors(uri: str) -> dict[str, Any]:
    """The flavours in the version's MLmodel file, which lies in S3."""
    from botocore.exceptions import BotoCoreError, ClientError
    from mlflow.exceptions import MlflowException
    from mlflow.models import get_model_info

    run(_check(uri, registry_address()))  # without an address MLflow would make a database of its own in this folder
    try:
        flavors: dict[str, Any] = get_model_info(uri).flavors
    except MlflowException as exc:
        raise DeploymentError(f"{uri}: {exc.message}", codes.ErrorCode.Value(exc.error_code)) from exc
    except (BotoCoreError, ClientError) as exc:
        raise DeploymentError(f"{uri}: S3: {exc}", codes.TEMPORARILY_UNAVAILABLE) from exc
    return flavors


async def _check(uri: str, registry: RegistryAddress) -> None:
    """That the registry answers and knows the version, in seconds: MLflow's own client tries a silent one for minutes."""
    async with aiohttp.ClientSession() as session:
        await resolve(uri, registry=registry, session=session)


def _input(flavors: dict[str, Any], uri: str) -> str:
    darknet = flavors.get(FLAVOR)
    if darknet is None:
        raise invalid(
            f"{uri}: a model of flavour {', '.join(sorted(flavors)) or 'none'}, not {FLAVOR}; "
            f"for a detector of another family say its input: {both_ways(input='WIDTHxHEIGHT')}"
        )
    try:
        return read_size(f"{darknet['input_width']}x{darknet['input_height']}")
    except (KeyError, TypeError, ValueError) as exc:
        raise invalid(f"{uri}: its MLmodel file does not say the network's input: register the model again") from exc
