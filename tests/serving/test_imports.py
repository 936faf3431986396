"""Imports of a server's start: no search for garbage meanwhile, and searches again afterwards."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from slipway.serving.imports import lasting_imports


@pytest.fixture(autouse=True)
def nothing_stays_frozen() -> Iterator[None]:
    yield
    gc.unfreeze()


def test_what_imports_make_is_not_searched() -> None:
    before = gc.get_freeze_count()
    with lasting_imports():
        assert not gc.isenabled()
        made: list[list[int]] = [[] for _ in range(1000)]
    assert gc.isenabled()
    assert gc.get_freeze_count() - before > len(made)


def test_garbage_is_searched_again_after_an_import_that_failed() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_module"), lasting_imports():
        __import__("no_such_module")
    assert gc.isenabled()
