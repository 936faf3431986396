"""The entry point of the target ``slipway``: MLflow's deployment client over the Kubernetes API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from mlflow.deployments import PredictionsResponse
from mlflow.deployments.base import BaseDeploymentClient
from mlflow.protos import databricks_pb2 as codes

from slipway.client import Client, Detections
from slipway.client.bridge import run
from slipway.contract.following import printable
from slipway.kube.client import Kube
from slipway.kube.errors import NotFound
from slipway.kube.kinds import SELDON_DEPLOYMENT
from slipway.mlflow_deployments.commands import Command, delete_command, refuse_idle_keys, update_command
from slipway.mlflow_deployments.describe import address, describe
from slipway.mlflow_deployments.errors import DeploymentError, as_mlflow_errors, invalid
from slipway.mlflow_deployments.help import HELP
from slipway.mlflow_deployments.inputs import photos_of
from slipway.mlflow_deployments.model import FLAVOR, find_model
from slipway.mlflow_deployments.predictors import (
    CANARY,
    Json,
    find,
    main,
    new_predictor,
    promotion,
    seldon_deployment,
    with_canary,
    with_model,
    with_traffic,
    without,
)
from slipway.mlflow_deployments.release import move_followed_alias, plan_promotion, roll_deployment_back
from slipway.mlflow_deployments.settings import DeploySettings, gateway, parse_config
from slipway.mlflow_deployments.wait import wait_available

T = TypeVar("T")
FIELD_MANAGER = "mlflow-deployments"
TARGET = "slipway"
"""Edits: predictors before → the predictors to apply, one list after the other, each waited for."""
Edit = Callable[[Sequence[Json]], Sequence[Sequence[Json]]]


def _say(line: str) -> None:
    print(printable(line), flush=True)


class SlipwayDeploymentClient(BaseDeploymentClient):
    """Deployments are SeldonDeployments; an ``endpoint`` is a namespace. ``mlflow deployments help -t slipway`` has the keys.

    ``target_uri`` is ``slipway``, or ``slipway:/CONTEXT`` for a context of the kubeconfig. Every method raises
    MlflowException with a code.
    """

    def __init__(self, target_uri: str) -> None:
        super().__init__(target_uri)  # type: ignore[no-untyped-call]  # MLflow is untyped
        self.context = parse_target(target_uri)

    def create_deployment(
        self,
        name: str,
        model_uri: str,
        flavor: str | None = None,
        config: Mapping[str, Any] | None = None,
        endpoint: str | None = None,
    ) -> dict[str, Any]:
        """Serve a registered model under a new name; returns when it is Available, unless ``wait`` is false."""
        settings = parse_config(config, endpoint=endpoint)
        for key in ("traffic", "promote", "rollback"):
            if getattr(settings, key):
                raise invalid(f"-C {key} belongs to update: a canary needs something that it stands beside")
        refuse_idle_keys(Command.CREATE, settings)
        with as_mlflow_errors(name):
            model = find_model(model_uri, settings, flavor=flavor)
            spec = {"predictors": [new_predictor(model, settings)]}
            return {**self._run(lambda kube: _create(kube, name, spec, settings)), "flavor": FLAVOR}

    def update_deployment(
        self,
        name: str,
        model_uri: str | None = None,
        flavor: str | None = None,
        config: Mapping[str, Any] | None = None,
        endpoint: str | None = None,
    ) -> dict[str, Any]:
        """Another model, a canary (``traffic`` with a model), another split (``traffic`` alone), ``promote`` or ``rollback``."""
        settings = parse_config(config, endpoint=endpoint)
        _check_update(model_uri, settings)
        refuse_idle_keys(update_command(settings, has_model=bool(model_uri)), settings)
        with as_mlflow_errors(name):
            if settings.rollback:
                return {**self._run(lambda kube: _roll_back(kube, name, settings)), "flavor": FLAVOR}
            if settings.promote:
                return {**self._run(lambda kube: _promote(kube, name, settings)), "flavor": FLAVOR}
            edit = _edit(model_uri, settings, flavor=flavor)
            return {**self._run(lambda kube: _update(kube, name, edit, settings)), "flavor": FLAVOR}

    def delete_deployment(
        self, name: str, config: Mapping[str, Any] | None = None, endpoint: str | None = None
    ) -> None:
        """Remove it, or with ``predictor`` only that one. A name that is not there is no error (MLflow's contract), but is said."""
        settings = parse_config(config, endpoint=endpoint)
        refuse_idle_keys(delete_command(settings), settings)
        with as_mlflow_errors(name):
            self._run(lambda kube: _delete(kube, name, settings))

    def list_deployments(self, endpoint: str | None = None) -> list[dict[str, Any]]:
        """Every SeldonDeployment of the namespace, whoever wrote it."""
        with as_mlflow_errors("list"):
            return self._run(lambda kube: _list(kube, endpoint))

    def get_deployment(self, name: str, endpoint: str | None = None) -> dict[str, Any]:
        """State, address, and each predictor with its model and traffic."""
        with as_mlflow_errors(name):
            return self._run(lambda kube: _get(kube, name, endpoint))

    def predict(self, deployment_name: str | None = None, inputs: Any = None, endpoint: str | None = None) -> Any:
        """Detections of each photo of ``inputs``, through the gateway of SLIPWAY_GATEWAY.

        ``inputs``: a photo or a list of them (paths, bytes, arrays), or a DataFrame with a column ``image`` or ``path``.
        Without a name, ``endpoint`` is ``NAMESPACE/NAME``.
        """
        if deployment_name is None:
            endpoint, _, deployment_name = (endpoint or "").partition("/")
        if not deployment_name:
            raise invalid("predict: say which deployment: a name, or an endpoint NAMESPACE/NAME")
        name = deployment_name
        photos = photos_of(inputs)
        with as_mlflow_errors(name):
            namespace = endpoint or Kube.from_kubeconfig(context=self.context).access.namespace
            with Client(address(gateway(), namespace, name)) as client:
                return PredictionsResponse({"predictions": [_row(one) for one in client.detect_many(photos)]})

    def _run(self, work: Callable[[Kube], Awaitable[T]]) -> T:
        async def connected() -> T:
            async with Kube.from_kubeconfig(context=self.context, user_agent=FIELD_MANAGER) as kube:
                return await work(kube)

        return run(connected())


def parse_target(uri: str) -> str | None:
    """The context of ``slipway:/CONTEXT``; None for the kubeconfig's current one."""
    return uri.removeprefix(TARGET).removeprefix(":").lstrip("/") or None


def run_local(name: str, model_uri: str, *_: Any) -> None:
    """Not offered: this machine is a target like any other."""
    raise DeploymentError(
        f"{name}: run-local is not offered: `slipway up` makes this machine a target, "
        f"then: mlflow deployments create -t slipway --name {name} -m {model_uri}",
        codes.NOT_IMPLEMENTED,
    )


def target_help() -> str:
    """What ``mlflow deployments help -t slipway`` prints."""
    return HELP


def _check_update(model_uri: str | None, settings: DeploySettings) -> None:
    """Refuse what cannot be done at the same time. Raises DeploymentError."""
    if not (settings.promote or settings.rollback):
        if settings.why:
            raise invalid("-C why is recorded with -C promote=true or -C rollback=true")
        return
    if (settings.promote and settings.rollback) or model_uri or settings.traffic is not None or not settings.wait:
        word = "promote" if settings.promote else "rollback"
        raise invalid(f"-C {word}=true goes alone: without -m, -C traffic and -C wait=false")


def _edit(model_uri: str | None, settings: DeploySettings, *, flavor: str | None) -> Edit:
    """What an update means; the registry is asked here, before anything is read or written."""
    canary = settings.predictor or CANARY
    model = find_model(model_uri, settings, flavor=flavor) if model_uri else None
    percent = settings.traffic
    if percent is None:
        return lambda before: [_changed(before, settings.predictor, lambda one: with_model(one, model, settings))]
    if model is None:
        return lambda before: [with_traffic(before, canary, percent)]
    return lambda before: [with_traffic(with_canary(before, model, settings), canary, percent)]


def _changed(before: Sequence[Json], name: str | None, change: Callable[[Json], Json]) -> list[Json]:
    chosen = find(before, name) if name else main(before)
    if chosen is None:
        raise invalid(f"no predictor {name!r}: there are {', '.join(one['name'] for one in before)}")
    return [change(one) if one is chosen else one for one in before]


async def _create(kube: Kube, name: str, spec: Json, settings: DeploySettings) -> dict[str, Any]:
    namespace = settings.namespace or kube.access.namespace
    try:
        await kube.get(SELDON_DEPLOYMENT, name, namespace=namespace)
    except NotFound:
        made = await _apply(kube, seldon_deployment(name, namespace, spec), settings)
        return describe(made, gateway=gateway())
    sentence = f"{name}: there is one in namespace {namespace} already: `mlflow deployments update` changes it"
    raise DeploymentError(sentence, codes.RESOURCE_ALREADY_EXISTS)


async def _update(kube: Kube, name: str, edit: Edit, settings: DeploySettings) -> dict[str, Any]:
    namespace = settings.namespace or kube.access.namespace
    found = await kube.get(SELDON_DEPLOYMENT, name, namespace=namespace)
    for predictors in edit(found["spec"]["predictors"]):
        spec = {**found["spec"], "predictors": list(predictors)}
        version, generation = found["metadata"]["resourceVersion"], int(found["metadata"]["generation"])
        obj = seldon_deployment(name, namespace, spec, resource_version=version)
        found = await _apply(kube, obj, settings)
        if settings.wait and int(found["metadata"]["generation"]) > generation + 1:
            raise DeploymentError(f"{name}: edited by somebody else meanwhile: look, then say it again", codes.ABORTED)
    return describe(found, gateway=gateway())


async def _promote(kube: Kube, name: str, settings: DeploySettings) -> dict[str, Any]:
    """Where the alias of the main predictor is followed, it is moved; else the canary's model is written into it.

    Whether the canary may be removed afterwards is asked before the alias moves.
    """
    namespace, canary = settings.namespace or kube.access.namespace, settings.predictor or CANARY
    found = await kube.get(SELDON_DEPLOYMENT, name, namespace=namespace)
    planned = plan_promotion(found, canary)
    if planned is None:
        return await _update(kube, name, lambda before: promotion(before, canary), settings)
    alone = {**found["spec"], "predictors": without(found["spec"]["predictors"], canary)}
    obj = seldon_deployment(name, namespace, alone)
    await kube.apply(obj, field_manager=FIELD_MANAGER, force=settings.force, dry_run=True)
    await move_followed_alias(kube, name, planned, namespace=namespace, settings=settings, progress=_say)
    return await _update(kube, name, lambda before: [without(before, canary)], settings)


async def _roll_back(kube: Kube, name: str, settings: DeploySettings) -> dict[str, Any]:
    namespace = settings.namespace or kube.access.namespace
    await roll_deployment_back(kube, name, namespace=namespace, settings=settings, progress=_say)
    return await _get(kube, name, namespace)


async def _apply(kube: Kube, obj: Json, settings: DeploySettings) -> Json:
    """The object as it is after the wait."""
    name, namespace = obj["metadata"]["name"], obj["metadata"]["namespace"]
    applied = await kube.apply(obj, field_manager=FIELD_MANAGER, force=settings.force)
    if settings.wait:
        await wait_available(
            kube,
            name,
            namespace=namespace,
            generation=int(applied["metadata"]["generation"]),
            timeout_s=settings.timeout_s,
            progress=_say,
        )
    return await kube.get(SELDON_DEPLOYMENT, name, namespace=namespace)


async def _delete(kube: Kube, name: str, settings: DeploySettings) -> None:
    if settings.predictor is not None:
        removed = settings.predictor
        await _update(kube, name, lambda before: [without(before, removed)], settings)
        return
    namespace = settings.namespace or kube.access.namespace
    try:
        await kube.delete(SELDON_DEPLOYMENT, name, namespace=namespace, propagation="Background")
    except NotFound:  # MLflow wants a deletion that may be repeated, and its command says "is deleted" of each
        _say(f"{name}: was not there, in namespace {namespace}")


async def _list(kube: Kube, namespace: str | None) -> list[dict[str, Any]]:
    found = await kube.list(SELDON_DEPLOYMENT, namespace=namespace or kube.access.namespace)
    return [describe(one, gateway=gateway()) for one in found.items]


async def _get(kube: Kube, name: str, namespace: str | None) -> dict[str, Any]:
    found = await kube.get(SELDON_DEPLOYMENT, name, namespace=namespace or kube.access.namespace)
    return describe(found, gateway=gateway())


def _row(found: Detections) -> dict[str, Any]:
    """One photo's answer as the graph gave it, with who gave it."""
    body = found.reply.message.get("jsonData", found.reply.message)
    return {**body, "predictor": found.predictor} if found.predictor else dict(body)
