"""The page on aliases says what the program does."""

from __future__ import annotations

from pathlib import Path

from slipway.contract.annotations import FOLLOW_ALIAS, KEEP_PREVIOUS, ROLLBACK
from slipway.contract.names import REVISION
from slipway.controller.alias_watch import AWAY, NOT_FOUND
from slipway.controller.follow_status import FOLLOWED, NOT_READY, ROLLED_BACK, STARTING, UP_TO_DATE
from slipway.controller.following import KEEP_PREVIOUS_S, MAX_HISTORY
from slipway.controller.settings import Settings
from tests.data import REPOSITORY

PAGE = " ".join(Path(REPOSITORY / "docs" / "aliases.md").read_text().split())


def test_page_has_the_numbers() -> None:
    assert f"every {Settings().follow_interval_s:g} seconds" in PAGE
    assert f"the last {MAX_HISTORY} moves" in PAGE
    assert f"default {KEEP_PREVIOUS_S // 3600}h" in PAGE


def test_page_has_the_names() -> None:
    for name in (FOLLOW_ALIAS, KEEP_PREVIOUS, ROLLBACK, REVISION, FOLLOWED):
        assert name in PAGE
    for reason in (UP_TO_DATE, STARTING, NOT_READY, ROLLED_BACK, AWAY, NOT_FOUND):
        assert f"`{reason}`" in PAGE
