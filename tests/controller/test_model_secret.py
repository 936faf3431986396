"""The copy of the models' Secret: a conflict that passes is not somebody else's Secret."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from slipway.contract.sdep import SeldonDeployment
from slipway.controller.owners import NameTaken
from slipway.controller.secrets import ModelSecret
from slipway.kube.errors import Conflict
from tests.contract.manifests import node, predictor, sdep

OWNED = {"causes": [{"reason": "FieldManagerConflict", "field": ".data.AWS_ACCESS_KEY_ID", "message": "by person"}]}


@pytest.mark.parametrize(("details", "error"), [({}, Conflict), (OWNED, NameTaken)])
async def test_only_a_conflict_about_fields_says_that_the_name_is_taken(
    details: dict[str, Any], error: type[Exception]
) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise Conflict({"code": 409, "reason": "Conflict", "message": "not now", "details": details})

    source = {"metadata": {"resourceVersion": "1"}, "data": {}}
    known = SimpleNamespace(objects=lambda _: {("slipway-system", "keys"): source})
    secret = ModelSecret(SimpleNamespace(apply=refuse), known, "slipway-system", "keys")  # type: ignore[arg-type]
    with pytest.raises(error):
        await secret.ensure(SeldonDeployment.from_json(sdep(predictor(graph=node(modelUri="s3://bucket/iris")))))
    assert not secret.copied
