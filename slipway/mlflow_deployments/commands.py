"""Which keys of ``-C`` each command does something with; any other would be accepted and ignored, so it is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from enum import Enum

from slipway.mlflow_deployments.errors import invalid
from slipway.mlflow_deployments.settings import DeploySettings


class Command(Enum):
    """What is done, as the command line says it."""

    CREATE = "create"
    MODEL = "update with -m"
    CANARY = "update with -m and -C traffic"
    SPLIT = "update with -C traffic"
    EDIT = "update"
    PROMOTE = "update with -C promote=true"
    ROLLBACK = "update with -C rollback=true"
    DELETE = "delete"
    DELETE_ONE = "delete with -C predictor"


APPLIED = frozenset({"namespace", "wait", "timeout_s", "force"})
SHAPED = APPLIED | {"predictor", "follow", "replicas", "confidence", "iou", "engine"}
KEYS_OF: Mapping[Command, frozenset[str]] = {
    Command.CREATE: SHAPED | {"input", "tag"},
    Command.MODEL: SHAPED | {"input"},
    Command.CANARY: SHAPED | {"input", "traffic"},
    Command.SPLIT: APPLIED | {"predictor", "traffic"},
    Command.EDIT: SHAPED,
    Command.PROMOTE: frozenset({"namespace", "promote", "predictor", "why", "timeout_s", "force"}),
    Command.ROLLBACK: frozenset({"namespace", "rollback", "predictor", "why"}),
    Command.DELETE: frozenset({"namespace"}),
    Command.DELETE_ONE: APPLIED | {"predictor"},
}


def update_command(settings: DeploySettings, *, has_model: bool) -> Command:
    """Which kind of update the configuration asks for."""
    if settings.rollback:
        return Command.ROLLBACK
    if settings.promote:
        return Command.PROMOTE
    if settings.traffic is not None:
        return Command.CANARY if has_model else Command.SPLIT
    return Command.MODEL if has_model else Command.EDIT


def delete_command(settings: DeploySettings) -> Command:
    return Command.DELETE if settings.predictor is None else Command.DELETE_ONE


def refuse_idle_keys(command: Command, settings: DeploySettings) -> None:
    """Raises DeploymentError for a key that says something else than its default and does nothing here."""
    given = [one.name for one in fields(settings) if getattr(settings, one.name) != one.default]
    idle = ", ".join(f"-C {name}" for name in given if name not in KEYS_OF[command])
    if idle:
        taken = ", ".join(one.name for one in fields(settings) if one.name in KEYS_OF[command])
        raise invalid(f"{idle} does nothing in `{command.value}`, which takes {taken}")
