"""The copy of the model secret where models run, which the controller may write but not read."""

from __future__ import annotations

from typing import Any, cast

from slipway.contract.sdep import SeldonDeployment
from slipway.controller.secrets import AGAIN_S, ModelSecret
from slipway.kube.client import Kube
from slipway.kube.reflector import Reflector
from tests.contract.manifests import node, predictor, sdep

SOURCE = {"metadata": {"name": "store", "namespace": "slipway-system", "resourceVersion": "7"}, "data": {"KEY": "YQ=="}}
WITH_MODEL = SeldonDeployment.from_json(sdep(predictor(graph=node(modelUri="s3://bucket/m"))))


class Known:
    """Stands for the reflector of the source, and for the API that takes the copies."""

    def __init__(self) -> None:
        self.source: dict[str, Any] = SOURCE
        self.applied: list[dict[str, Any]] = []
        self.now = 1000.0

    def objects(self, _kind: object) -> dict[tuple[str, str], dict[str, Any]]:
        return {("slipway-system", "store"): self.source} if self.source else {}

    async def apply(self, obj: dict[str, Any], **_how: object) -> dict[str, Any]:
        self.applied.append(obj)
        return obj


def secret_of(known: Known) -> ModelSecret:
    kube, source = cast("Kube", known), cast("Reflector", known)
    return ModelSecret(kube, source, "slipway-system", "store", clock=lambda: known.now)


async def test_copy_is_made_once_and_again_after_a_while_for_somebody_may_have_deleted_it() -> None:
    known = Known()
    secret = secret_of(known)
    assert await secret.ensure(WITH_MODEL) == AGAIN_S
    known.now += 100
    assert await secret.ensure(WITH_MODEL) == AGAIN_S - 100
    assert len(known.applied) == 1
    known.now += AGAIN_S
    assert await secret.ensure(WITH_MODEL) == AGAIN_S
    assert known.applied == [known.applied[0]] * 2
    assert known.applied[0]["data"] == SOURCE["data"]


async def test_copy_follows_its_source_at_once() -> None:
    known = Known()
    secret = secret_of(known)
    await secret.ensure(WITH_MODEL)
    known.source = {**SOURCE, "metadata": {**SOURCE["metadata"], "resourceVersion": "8"}, "data": {"KEY": "Yg=="}}
    await secret.ensure(WITH_MODEL)
    assert [copy["data"]["KEY"] for copy in known.applied] == ["YQ==", "Yg=="]


async def test_nothing_is_copied_where_no_model_needs_it_or_there_is_none() -> None:
    known = Known()
    assert await secret_of(known).ensure(SeldonDeployment.from_json(sdep())) is None
    known.source = {}
    assert await secret_of(known).ensure(WITH_MODEL) is None
    assert known.applied == []
