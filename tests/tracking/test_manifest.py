"""Which backup is whole, which is meant, which may go."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.tracking.errors import BackupError
from slipway.tracking.manifest import (
    NAME,
    DumpFile,
    Manifest,
    ModelVersion,
    by_stamp,
    chosen,
    parse_manifest,
    stamp_of,
    superfluous,
    whole,
)

WHERE = "s3://b/mlflow"
STAMPS = [f"202611{day:02}T031500Z" for day in range(1, 29)]
backups = st.dictionaries(
    st.sampled_from(STAMPS),
    st.lists(st.sampled_from(["mlflow.sql.gz", "mlflow_auth.sql.gz", NAME]), unique=True, min_size=1),
).map(lambda found: {stamp: [f"mlflow/{stamp}/{name}" for name in names] for stamp, names in found.items()})


def keys(stamp: str, *names: str) -> list[str]:
    return [f"mlflow/{stamp}/{name}" for name in names]


def test_stamp_is_utc_and_sorts_as_time_does() -> None:
    moment = datetime(2026, 11, 22, 1, 30, 5, tzinfo=timezone(timedelta(hours=2)))
    assert stamp_of(moment) == "20261121T233005Z"
    assert stamp_of(moment) < stamp_of(datetime(2026, 11, 22, tzinfo=UTC))


def test_what_is_none_of_ours_is_no_backup() -> None:
    mine = keys("20261122T031500Z", "mlflow.sql.gz", NAME)
    others = keys("20261122T031500Z", "why.txt", "mlflow.sql", "backup.json.orig", "")
    others += [
        "mlflow/notes.txt",
        "mlflow/20261122T031500Z/deeper/file",
        "mlflow/20261122/x",
        "else/20261122T031500Z/x",
    ]
    assert by_stamp([*mine, *others], "mlflow") == {"20261122T031500Z": mine}


def test_place_without_a_folder_is_the_bucket_itself() -> None:
    assert by_stamp(["20261122T031500Z/mlflow.sql.gz", "models/1/weights"], "") == {
        "20261122T031500Z": ["20261122T031500Z/mlflow.sql.gz"]
    }


def test_backup_without_its_manifest_is_not_chosen() -> None:
    found = {
        "20261121T031500Z": keys("20261121T031500Z", NAME),
        "20261122T031500Z": keys("20261122T031500Z", "mlflow.sql.gz"),
    }
    assert chosen(found, "latest", where=WHERE) == "20261121T031500Z"
    with pytest.raises(BackupError, match=r"no whole backup '20261122T031500Z'; there are 20261121T031500Z"):
        chosen(found, "20261122T031500Z", where=WHERE)
    with pytest.raises(BackupError, match="no whole backup there"):
        chosen({}, "latest", where=WHERE)


@given(backups, st.integers(1, 5))
def test_newest_whole_ones_stay_and_manifests_go_first(found: dict[str, list[str]], keep: int) -> None:
    gone = superfluous(found, keep=keep)
    left = {stamp: [key for key in names if key not in gone] for stamp, names in found.items()}
    assert whole(left) == whole(found)[-keep:]
    assert all(left[stamp] == found[stamp] for stamp in whole(left))
    # Wherever an end comes, what is left of a backup is not taken for a whole one.
    for number in range(len(gone)):
        halfway = {stamp: [key for key in names if key not in gone[: number + 1]] for stamp, names in found.items()}
        for stamp in whole(halfway):
            assert halfway[stamp] == found[stamp]


@given(backups)
def test_backup_that_may_be_under_way_is_left_alone(found: dict[str, list[str]]) -> None:
    youngest = "20261130T000000Z"
    assert not [
        key for key in superfluous({**found, youngest: keys(youngest, "mlflow.sql.gz")}, keep=1) if youngest in key
    ]


def test_manifest_comes_back_as_it_was() -> None:
    files = (DumpFile("mlflow.sql.gz", 5, "ab" * 32),)
    given_ = Manifest(
        "20261122T031500Z", "deadbeef", files, (ModelVersion("yolo", "3", "s3://b/3", "sha256:" + "0" * 64),)
    )
    assert parse_manifest(given_.render(), where=WHERE) == given_


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": 1}', '{"format": 1, "files": 3, "stamp": "", "revision": ""}']
)
def test_broken_manifest_is_told(text: str) -> None:
    with pytest.raises(BackupError, match=WHERE):
        parse_manifest(text, where=WHERE)


def test_manifest_that_nobody_would_read_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    given_ = Manifest("20261122T031500Z", "é", (), (ModelVersion("ä", "3", "s3://b/3", "sha256:0"),))
    size = len(given_.render().encode())
    monkeypatch.setattr("slipway.tracking.manifest.MAX_BYTES", size)
    assert given_.render()
    monkeypatch.setattr("slipway.tracking.manifest.MAX_BYTES", size - 1)
    with pytest.raises(BackupError, match=f"backup.json would have {size} bytes for 1 model versions, and {size - 1}"):
        given_.render()


def test_manifest_of_another_format_is_told() -> None:
    with pytest.raises(BackupError, match="format 2; this release reads 1"):
        parse_manifest('{"format": 2}', where=WHERE)
