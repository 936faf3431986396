"""What the status and the rollback annotation say, read back and refused."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.contract.fields import FieldError
from slipway.contract.following import (
    MAX_REQUEST_CHARS,
    Following,
    NodeModel,
    Revision,
    RollbackRequest,
    parse_duration_s,
    plan_line,
)
from slipway.contract.names import MAX_NAME
from slipway.contract.sdep import SeldonDeployment
from slipway.contract.validation import validate
from tests.contract.manifests import Manifest, node, predictor, sdep

WORDS = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=12)
MODELS = st.builds(NodeModel, WORDS, WORDS, WORDS, st.from_regex(r"[1-9][0-9]{0,8}", fullmatch=True), WORDS, WORDS)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
)
TIMES = st.datetimes(timezones=st.just(UTC)).map(lambda at: at.isoformat())
ALIAS = node(modelUri="models:/shapes@champion")


def model(version: str, *, name: str = "clf", digest: str = "sha256:0123456789abcdef") -> NodeModel:
    return NodeModel(name, "models:/shapes@champion", "shapes", version, digest, f"s3://m/{version}")


@given(st.lists(MODELS, min_size=1, max_size=70, unique_by=lambda item: item.node))
def test_name_of_a_revision_fits_a_label_and_depends_on_no_order(models: list[NodeModel]) -> None:
    made = Revision.of("main", tuple(models))
    assert made == Revision.of("main", tuple(reversed(models)))
    assert len(made.name) <= MAX_NAME
    assert made.name.isascii()


def test_name_of_a_revision_changes_with_predictor_version_and_digest() -> None:
    made = {
        Revision.of(name, (model(version, digest=digest),)).name
        for name in ("a", "b")
        for version in ("1", "2")
        for digest in ("", "sha256:1")
    }
    assert len(made) == 8
    assert Revision.of("a", (model("3"),)).name.startswith("v3-")


@given(MODELS, MODELS, st.dictionaries(WORDS, WORDS), WORDS, TIMES)
def test_state_reads_back_from_its_json(
    one: NodeModel, other: NodeModel, versions: dict[str, str], text: str, at: str
) -> None:
    wanted, previous = Revision.of("main", (one,)), Revision.of("main", (replace(other, node="previous"),))
    state = Following("main", wanted, previous, previous.name, at, at, versions, text, text, versions, text, text)
    assert Following.read(json.loads(json.dumps(state.to_json()))) == state


@given(JSON)
def test_state_of_any_content_is_read_or_a_field_error(value: Any) -> None:
    with pytest.raises(FieldError):
        Following.read(value)


def test_plan_names_the_version_with_its_digest_on_both_sides() -> None:
    old, new = (Revision.of("main", (model(version), model("7", name="same"))) for version in "12")
    assert plan_line("main", old, new) == (
        "main: clf: models:/shapes@champion version 1 sha256:0123456789ab → version 2 sha256:0123456789ab"
    )


@given(JSON.map(json.dumps) | st.text())
def test_rollback_of_any_content_is_read_or_a_field_error(text: str) -> None:
    with pytest.raises(FieldError, match="here"):
        RollbackRequest.parse(text, "here")


def test_rollback_reads_back_and_cannot_drive_a_terminal() -> None:
    request = RollbackRequest("main", "v1-0a1b2c3d", "ann", "2026-01-01T00:00:00Z", "too many boxes")
    assert RollbackRequest.parse(request.render(), "here") == request
    assert RollbackRequest.parse(replace(request, who="a\x1b[2Jb").render(), "here").who == "a [2Jb"
    with pytest.raises(FieldError, match="characters"):
        RollbackRequest.parse(replace(request, why="a" * MAX_REQUEST_CHARS).render(), "here")


def test_durations_have_a_unit() -> None:
    assert [parse_duration_s(text) for text in ("0s", "90s", "30m", "2h")] == [0, 90, 1800, 7200]
    for text in ("", "1", "1d", "-1s", "1.5h", "00s", "123456s"):
        with pytest.raises(ValueError, match="write 90s, 30m or 2h"):
            parse_duration_s(text)


@pytest.mark.parametrize(
    ("manifest", "field", "words"),
    [
        (
            sdep(metadata={"annotations": {"slipway.dev/rollback": "{}"}}),
            "metadata.annotations[slipway.dev/rollback].predictor",
            "required",
        ),
        (
            sdep(metadata={"annotations": {"slipway.dev/rollback": "{"}}),
            "metadata.annotations[slipway.dev/rollback]",
            "slipway rollback",
        ),
        (
            sdep(annotations={"slipway.dev/keep-previous": "1 hour"}),
            "spec.annotations[slipway.dev/keep-previous]",
            "1 hour",
        ),
        (
            sdep(predictor(labels={"slipway.dev/revision": "x"})),
            "spec.predictors[0].labels[slipway.dev/revision]",
            "choose another",
        ),
        (
            sdep(
                predictor(graph=ALIAS, annotations={"slipway.dev/rollout": "recreate"}),
                annotations={"slipway.dev/follow-alias": "true"},
            ),
            "spec.predictors[0].annotations[slipway.dev/rollout]",
            "beside the old",
        ),
    ],
)
def test_what_could_not_be_honoured_is_refused(manifest: Manifest, field: str, words: str) -> None:
    causes = {cause.field: cause.message for cause in validate(SeldonDeployment.from_json(manifest))}
    assert words in causes[field]


def test_one_predictor_may_stay_where_the_others_follow() -> None:
    manifest = sdep(
        predictor("a", graph=ALIAS, traffic=50),
        predictor(
            "b",
            graph=ALIAS,
            traffic=50,
            annotations={"slipway.dev/follow-alias": "false", "slipway.dev/rollout": "recreate"},
        ),
        annotations={"slipway.dev/follow-alias": "true"},
    )
    assert validate(SeldonDeployment.from_json(manifest)) == []
