"""What a rollback would do, and the sentences that say why it would not."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from slipway.contract.following import Following, NodeModel, Revision
from slipway.release import RollbackRefused, plan_rollback

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
LATER, EARLIER = "2026-01-01T12:30:00Z", "2026-01-01T11:30:00Z"


def revision(version: str) -> Revision:
    digest = f"sha256:{version * 64}"
    model = NodeModel("clf", "models:/shapes@champion", "shapes", version, digest, f"s3://models/{version}")
    return Revision.of("main", (model,))


def following(wanted: str, previous: str = "", **fields: Any) -> Following:
    fields = {"predictor": "main", "serving": revision(wanted).name, "until": LATER, **fields}
    return Following(wanted=revision(wanted), previous=revision(previous) if previous else None, **fields)


def yolo(*states: Following) -> dict[str, Any]:
    return {"metadata": {"name": "yolo"}, "status": {"following": [state.to_json() for state in states]}}


def test_the_version_before_is_gone_back_to():
    plan = plan_rollback(yolo(following("2", "1")), now=NOW)
    assert plan.line == (
        f"main: clf: models:/shapes@champion version 2 sha256:{'2' * 12} → version 1 sha256:{'1' * 12} (warm)"
    )
    assert [(model.name, model.version) for model in plan.moves] == [("shapes", "1")]


def test_version_that_is_no_longer_warm_is_said_to_be_started():
    plan = plan_rollback(yolo(following("2", "1", until=EARLIER)), now=NOW)
    assert plan.line.endswith("(to be started)")


def test_what_serves_is_warm_while_a_newer_one_does_not_become_ready():
    plan = plan_rollback(yolo(following("3", "2", serving=revision("2").name, until="")), now=NOW)
    assert (plan.target, plan.is_warm) == (revision("2"), True)


def test_version_is_chosen_among_those_that_are_known():
    assert plan_rollback(yolo(following("2", "1")), now=NOW, to_version="1").target == revision("1")


def test_predictor_that_can_go_back_is_found_among_several():
    states = (following("1"), following("2", "1", predictor="canary"))
    assert plan_rollback(yolo(*states), now=NOW).state.predictor == "canary"


@pytest.mark.parametrize(
    ("obj", "options", "sentence"),
    [
        (yolo(), {}, "no predictor follows an alias: put the version.* -C follow=true.*config={'follow': True}"),
        (yolo(following("1")), {"predictor": "b"}, "predictor b follows no alias: those that do: main"),
        (yolo(following("1")), {}, "no version before shapes 1 .*slipway model promote shapes <VERSION> --alias champ"),
        (yolo(following("1", "2", rolled_back=revision("2").name)), {}, "already: .*promote shapes 2 --alias champion"),
        (yolo(following("2", "1")), {"to_version": "7"}, "neither running nor remembered: .*promote shapes 7"),
        (yolo(following("2", "1")), {"to_version": "2"}, "is at version 2 already"),
        (
            yolo(following("2", "1"), following("2", "1", predictor="b")),
            {},
            "say which .--predictor main, b; .* -C predictor=…, in Python",
        ),
        ({"metadata": {"name": "yolo"}, "status": {"following": [7]}}, {}, "status is unreadable"),
    ],
)
def test_refusal_says_what_to_do_instead(obj: dict[str, Any], options: dict[str, str], sentence: str):
    with pytest.raises(RollbackRefused, match=sentence):
        plan_rollback(obj, now=NOW, **options)
